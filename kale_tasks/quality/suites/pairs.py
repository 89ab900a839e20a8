"""What must hold for `pairs` after ingest."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from great_expectations.expectations.expectation import Expectation

from kale_tasks.quality.drift import chance
from kale_tasks.quality.features import text_features
from kale_tasks.quality.suite import Figures, Limit, Subject, Suite
from kale_tasks.quality.suites.common import between, form, named, never, one_of, there


def _features(rows: pa.Table) -> dict[str, Any]:
    return {
        **text_features(rows["text"], ["mojibake", "placeholder", "english"]),
        "blank": pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(pc.fill_null(rows["text"], ""))), 0),
        "text_is_url": pc.fill_null(pc.match_substring_regex(rows["text"], pattern=r"^https?://\S+$"), False),
    }


def _expect() -> list[Expectation]:
    return [
        *named(),
        *there("url", "alt_text", "text"),
        form("url", r"(?i)^https?://[^\s]+$", "url is an http address"),
        form("sha256", r"^[0-9a-fA-F]{32,64}$", "A claimed sha256 is hex digits"),
        one_of("split", "stage1", "stage2", "holdout"),
        between("dup_count", 1),
        between("width", 1),
        between("height", 1),
        between("clip_b32", -1, 1),
        between("clip_l14", -1, 1),
        *never(blank="No alt-text is empty", text_is_url="No alt-text is an address"),
    ]


def _limits(subject: Subject) -> list[Limit]:
    limit = subject.limit
    return [
        Limit("kept_share", "critical", "Enough landing rows were kept", low=limit.kept_min),
        Limit("mojibake_share", "critical", "Texts were decoded rightly", high=limit.mojibake_max),
        Limit("placeholder_share", "warning", "Few alt-texts are placeholders", high=limit.placeholder_max),
        Limit("text_copies", "critical", "No alt-text stands for all", high=most_copies(subject)),
        Limit("stage1_gap", "critical", "The share of stage 1 is the configured one", high=limit.split_gap),
        Limit("holdout_gap", "critical", "The share of the holdout is the configured one", high=limit.split_gap),
    ]


def _more(subject: Subject, figures: Figures, lengths: Sequence[int]) -> Figures:
    committed, split = subject.committed, subject.settings.ingest.split
    return {
        "kept_share": committed.rows / committed.rows_in if committed.rows_in else 0.0,
        "stage1_gap": _gap(figures["stage1_share"], split.stage1, committed.rows),
        "holdout_gap": _gap(figures["holdout_share"], split.holdout, committed.rows),
    }


def _gap(share: float | None, wanted: float, rows: int) -> float | None:
    return None if share is None else max(0.0, abs(share - wanted) - chance(wanted, rows))


def most_copies(subject: Subject) -> float:
    """How often one text may stand in a key."""
    limit = subject.limit
    return max(limit.repeat_floor, limit.repeat_share * subject.committed.rows)


PAIRS = Suite(
    step="ingest",
    table="pairs",
    columns=[
        "uid",
        "url",
        "alt_text",
        "text",
        "sha256",
        "split",
        "dup_count",
        "width",
        "height",
        "clip_b32",
        "clip_l14",
    ],
    features=_features,
    expect=_expect,
    limits=_limits,
    queries=["pairs"],
    more=_more,
)
