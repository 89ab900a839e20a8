"""Checks on `pairs` after ingest."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from great_expectations.expectations.expectation import Expectation

from kale_tasks.quality.drift import chance
from kale_tasks.quality.features import blank, text_features
from kale_tasks.quality.suite import Figures, Limit, Subject, Suite
from kale_tasks.quality.suites.common import between, matches, never, one_of, present, valid_uid
from kale_tasks.resources import sql


class PairsSuite(Suite):
    """Checks on alt-texts, addresses and splits."""

    columns = (
        "uid", "url", "alt_text", "text", "sha256", "split", "dup_count", "width", "height", "clip_b32", "clip_l14",
    )  # fmt: skip
    text = True

    def features(self, rows: pa.Table) -> dict[str, Any]:
        return {
            **text_features(rows["text"], ["mojibake", "placeholder", "english"]),
            "blank": blank(rows["text"]),
            "text_is_url": pc.fill_null(pc.match_substring_regex(rows["text"], pattern=r"^https?://\S+$"), False),
        }

    def expectations(self) -> list[Expectation]:
        return [
            *valid_uid(),
            *present("url", "alt_text", "text"),
            matches("url", r"(?i)^https?://[^\s]+$", "url is an http address"),
            matches("sha256", r"^[0-9a-fA-F]{32,64}$", "A claimed sha256 is hex digits"),
            one_of("split", "stage1", "stage2", "holdout"),
            between("dup_count", 1),
            between("width", 1),
            between("height", 1),
            between("clip_b32", -1, 1),
            between("clip_l14", -1, 1),
            *never(blank="No alt-text is empty", text_is_url="No alt-text is an address"),
        ]

    def queries(self) -> list[str]:
        return [sql("checks/pairs")]

    def failing(self) -> list[str]:
        return [sql("failing/pairs")]

    def figures(self, subject: Subject, figures: Figures, lengths: Sequence[int]) -> Figures:
        committed, split = subject.committed, subject.settings.ingest.split
        return {
            "kept_share": committed.rows / committed.rows_in if committed.rows_in else None,
            "stage1_gap": _gap(figures["stage1_share"], split.stage1, committed.rows),
            "holdout_gap": _gap(figures["holdout_share"], split.holdout, committed.rows),
        }

    def limits(self, subject: Subject) -> list[Limit]:
        limit = subject.limit
        return [
            Limit("kept_share", "critical", "Enough landing rows are kept", low=limit.kept_min),
            Limit("mojibake_share", "critical", "Alt-texts are decoded correctly", high=limit.mojibake_max),
            Limit("placeholder_share", "warning", "Few alt-texts are placeholders", high=limit.placeholder_max),
            Limit("text_copies", "critical", "No alt-text is repeated too often", high=most_copies(subject)),
            Limit("stage1_gap", "critical", "The share of stage 1 is the configured one", high=limit.split_gap),
            Limit("holdout_gap", "critical", "The share of the holdout is the configured one", high=limit.split_gap),
        ]


def _gap(share: float | None, configured: float, rows: int) -> float | None:
    return None if share is None else max(0.0, abs(share - configured) - chance(configured, rows))


def most_copies(subject: Subject) -> float:
    """Return how many rows of a key may have the same text."""
    limit = subject.limit
    return max(limit.repeat_floor, limit.repeat_share * subject.committed.rows)
