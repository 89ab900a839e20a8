"""Checks on `images`."""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from great_expectations.expectations.expectation import Expectation

from kale_tasks.quality.integrity import unreadable_images
from kale_tasks.quality.suite import Figures, Limit, Subject, Suite
from kale_tasks.quality.suites.common import between, matches, never, one_of, valid_uid
from kale_tasks.resources import sql

_OF_AN_IMAGE = ("shard", "offset", "length", "sha256", "width", "height")


class ImagesSuite(Suite):
    """Checks on fetched images: enough of them, complete rows, bytes that can be read back."""

    columns = ("uid", "status", "reason", "split", "sha256_matches", *_OF_AN_IMAGE)
    tables: ClassVar[Mapping[str, Sequence[str]]] = {"pairs": ["uid", "split"]}
    inputs = ("pairs",)

    def features(self, rows: pa.Table) -> dict[str, Any]:
        ok = pc.equal(rows["status"], "ok")
        has_null = reduce(pc.or_, [pc.is_null(rows[column]) for column in _OF_AN_IMAGE])
        has_reason = pc.greater(pc.utf8_length(pc.fill_null(rows["reason"], "")), 0)
        return {
            "incomplete": pc.fill_null(pc.and_(ok, has_null), False),
            "unexplained": pc.fill_null(pc.and_(pc.invert(ok), pc.invert(has_reason)), True),
        }

    def expectations(self) -> list[Expectation]:
        return [
            *valid_uid(),
            one_of("status", "ok", "failed"),
            matches("sha256", r"^[0-9a-f]{64}$", "A sha256 is 64 hex digits"),
            between("width", 1, 65535),
            between("height", 1, 65535),
            between("offset", 0),
            between("length", 1),
            *never(
                incomplete="Every fetched image has its place, hash and size",
                unexplained="Every failed image has a reason",
            ),
        ]

    def queries(self) -> list[str]:
        return [sql("checks/images")]

    def failing(self) -> list[str]:
        return [sql("failing/images")]

    def figures(self, subject: Subject, figures: Figures, lengths: Sequence[int]) -> Figures:
        return {"members_unreadable": unreadable_images(subject, subject.settings.quality.members)}

    def limits(self, subject: Subject) -> list[Limit]:
        limit = subject.limit
        return [
            Limit("yield_share", "critical", "Enough images were fetched", low=limit.yield_min),
            Limit("dns_share", "critical", "Name resolution works", high=limit.dns_max),
            Limit("unreachable_share", "critical", "The network can be reached", high=limit.unreachable_max),
            Limit("sha256_drift_share", "warning", "Few images differ from their hash", high=limit.sha256_drift_max),
            Limit("placeholder_share", "critical", "Few addresses return the same picture", high=limit.placeholder_max),
            Limit("orphans", "critical", "Every image belongs to a pair", 0, 0),
            Limit("split_changed", "critical", "Every image is in the split of its pair", 0, 0),
            Limit("members_unreadable", "critical", "Images in shards can be read and match their rows", 0, 0),
        ]
