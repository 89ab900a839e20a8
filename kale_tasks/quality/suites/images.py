"""What must hold for `images`."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from great_expectations.expectations.expectation import Expectation

from kale_tasks.quality.integrity import unreadable_members
from kale_tasks.quality.suite import Figures, Limit, Subject, Suite
from kale_tasks.quality.suites.common import between, form, named, never, one_of

_OF_AN_IMAGE = ("shard", "offset", "length", "sha256", "width", "height")


def _features(rows: pa.Table) -> dict[str, Any]:
    ok = pc.equal(rows["status"], "ok")
    lacking = reduce(pc.or_, [pc.is_null(rows[column]) for column in _OF_AN_IMAGE])
    named = pc.greater(pc.utf8_length(pc.fill_null(rows["reason"], "")), 0)
    return {
        "incomplete": pc.fill_null(pc.and_(ok, lacking), False),
        "unexplained": pc.fill_null(pc.and_(pc.invert(ok), pc.invert(named)), True),
    }


def _expect() -> list[Expectation]:
    return [
        *named(),
        one_of("status", "ok", "failed"),
        form("sha256", r"^[0-9a-f]{64}$", "A sha256 is 64 hex digits"),
        between("width", 1, 65535),
        between("height", 1, 65535),
        between("offset", 0),
        between("length", 1),
        *never(
            incomplete="An image that came has its place, hash and size",
            unexplained="An image that failed has a reason",
        ),
    ]


def _limits(subject: Subject) -> list[Limit]:
    limit = subject.limit
    return [
        Limit("yield_share", "critical", "Enough images came", low=limit.yield_min),
        Limit("dns_share", "critical", "The resolver works", high=limit.dns_max),
        Limit("unreachable_share", "critical", "The network is alive", high=limit.unreachable_max),
        Limit(
            "sha256_drift_share", "warning", "Few images changed since they were listed", high=limit.sha256_drift_max
        ),
        Limit("placeholder_share", "critical", "Few addresses give the same picture", high=limit.placeholder_max),
        Limit("orphans", "critical", "Every image belongs to a pair", 0, 0),
        Limit("split_changed", "critical", "Every image is in the split of its pair", 0, 0),
        Limit("members_unreadable", "critical", "Images read back from their shards are what their rows say", 0, 0),
    ]


def _more(subject: Subject, figures: Figures, lengths: Sequence[int]) -> Figures:
    return {"members_unreadable": unreadable_members(subject, subject.settings.quality.members)}


IMAGES = Suite(
    step="images",
    table="images",
    columns=["uid", "status", "reason", "split", "sha256_matches", *_OF_AN_IMAGE],
    features=_features,
    expect=_expect,
    limits=_limits,
    others={"pairs": ["uid", "split"]},
    inputs=["pairs"],
    queries=["images"],
    text=False,
    more=_more,
)
