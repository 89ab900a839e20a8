"""Checks on texts of passes that describe images, and on `captions` of both stages."""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, ClassVar

import great_expectations.expectations as gxe
import pyarrow as pa
import pyarrow.compute as pc
from great_expectations.expectations.expectation import Expectation

from kale_tasks.quality.drift import beside_teacher
from kale_tasks.quality.features import blank, foreign, loops, text_features
from kale_tasks.quality.sampled import beside_sample, sample_limits
from kale_tasks.quality.suite import Figures, Limit, Subject, Suite
from kale_tasks.quality.suites.common import between, expect, never, one_of, present, valid_uid
from kale_tasks.quality.suites.pairs import most_copies
from kale_tasks.resources import sql
from kale_tasks.text.alttext import ALT_AS_IS

_PROVENANCE = ("engine", "prompt_hash", "tokens_in", "tokens_out", "finish_reason")
_FACTS = ("facts", "facts_from_alt", "facts_from_dense", "facts_invented")


class _GeneratedText(Suite):
    """Checks that hold for every text that a model wrote."""

    text = True
    text_column: str

    def features(self, rows: pa.Table) -> dict[str, Any]:
        text = rows[self.text_column]
        return {
            "full_text": text,
            **text_features(text, ["refusal", "leaked", "mojibake"]),
            "loop": loops(text),
            "foreign_text": foreign(text),
            "blank": blank(text),
        }

    def expectations(self) -> list[Expectation]:
        return [
            *valid_uid(),
            one_of("finish_reason", "stop", "length"),
            between("tokens_out", 1),
            *never(blank="No caption is empty"),
        ]

    def queries(self) -> list[str]:
        return [sql("checks/text")]

    def failing(self) -> list[str]:
        return [sql("failing/text")]

    def limits(self, subject: Subject) -> list[Limit]:
        limit = subject.limit
        wrong = subject.committed.rows if subject.config.get("split") == "stage2" else 0  # the teacher on stage 2
        return [
            Limit("quarantined_share", "critical", "Few rows failed", high=limit.quarantined_max),
            Limit("refusal_share", "critical", "Captions describe and do not refuse or chat", high=limit.refusal_max),
            Limit("leaked_share", "critical", "Captions do not repeat the prompt", high=limit.leak_max),
            Limit("truncated_share", "critical", "Captions are not cut off", high=limit.truncated_max),
            Limit("loop_share", "critical", "Captions do not repeat themselves", high=limit.loop_max),
            Limit("foreign_share", "critical", "Captions are English", high=limit.foreign_max),
            Limit("mojibake_share", "critical", "Captions are decoded correctly", high=limit.mojibake_max),
            Limit("text_copies", "critical", "No caption is repeated too often", high=most_copies(subject)),
            Limit("words_mean", "critical", "Captions have a usual length", limit.words_mean_min, limit.words_mean_max),
            Limit("prompts", "warning", "All captions were made with one prompt", high=1),
            Limit("orphans", "critical", "Every caption belongs to a fetched image", 0, 0),
            Limit("wrong_split", "critical", "Every captioned image is in the right split", wrong, wrong),
        ]


class PassSuite(_GeneratedText):
    """Checks on the texts of a pass that describes images."""

    columns = ("uid", "text", "models", *_PROVENANCE)
    tables: ClassVar[Mapping[str, Sequence[str]]] = {"images": ["uid", "status", "split"]}
    inputs = ("images",)
    text_column = "text"

    def features(self, rows: pa.Table) -> dict[str, Any]:
        return {**super().features(rows), "nameless": _nameless(rows)}

    def expectations(self) -> list[Expectation]:
        return [
            *super().expectations(),
            *present("text", "engine", "prompt_hash", "finish_reason"),
            *never(nameless="Every text names its models"),
        ]

    def queries(self) -> list[str]:
        return [*super().queries(), sql("checks/passes")]

    def failing(self) -> list[str]:
        return [*super().failing(), sql("failing/passes")]


def _nameless(rows: pa.Table) -> Any:
    return pc.equal(pc.fill_null(pc.list_value_length(rows["models"]), 0), 0)


class _CaptionsSuite(_GeneratedText):
    """Checks on captions of either stage."""

    columns = ("uid", "url", "alt_text", "dense_caption", "caption", "recipe", "models", "flags", *_PROVENANCE, *_FACTS)
    text_column = "caption"

    def features(self, rows: pa.Table) -> dict[str, Any]:
        has_null = reduce(pc.or_, [pc.is_null(rows[column]) for column in ("engine", "prompt_hash", "finish_reason")])
        # The dense caption is taken as it is when the alt-text says nothing; then no model made the caption.
        is_dense = pc.fill_null(pc.equal(rows["caption"], rows["dense_caption"]), False)
        is_alt = pa.array([ALT_AS_IS in (flags or ()) for flags in rows["flags"].to_pylist()], pa.bool_())
        return {
            **super().features(rows),
            "nameless": pc.and_(_nameless(rows), pc.invert(is_alt)),
            "unexplained": pc.and_(has_null, pc.invert(pc.or_(is_dense, is_alt))),
        }

    def expectations(self) -> list[Expectation]:
        return [
            *super().expectations(),
            *present("recipe", "caption", "alt_text", "url"),
            *never(
                nameless="Every caption names its models",
                unexplained="Every caption except a dense one says how it was made",
            ),
            *(
                expect(
                    f"{part}_within_facts", f"{part} is not above facts", gxe.ExpectColumnPairValuesAToBeGreaterThanB,
                    column_A="facts", column_B=part, or_equal=True, ignore_row_if="either_value_is_missing",
                )
                for part in _FACTS[1:]
            ),
        ]  # fmt: skip

    def queries(self) -> list[str]:
        return [*super().queries(), sql("checks/captions")]

    def failing(self) -> list[str]:
        return [*super().failing(), sql("failing/captions")]

    def limits(self, subject: Subject) -> list[Limit]:
        limit = subject.limit
        return [
            *super().limits(subject),
            Limit("invented_share", "critical", "Facts come from a source", high=limit.invented_max),
            Limit("alt_used_share", "critical", "Captions contain facts of the alt-text", low=limit.alt_used_min),
            Limit("alt_changed", "critical", "Every alt-text is that of the pair, byte for byte", 0, 0),
            Limit("copied_share", "critical", "Captions are not copies of the alt-text", high=limit.copied_max),
        ]


class FusedSuite(_CaptionsSuite):
    """Checks on captions of stage 1."""

    tables: ClassVar[Mapping[str, Sequence[str]]] = {
        "images": ["uid", "status", "split"],
        "pairs": ["uid", "alt_text"],
        "texts": ["uid", "text"],
    }
    inputs = ("images", "pairs")

    def queries(self) -> list[str]:
        return [*super().queries(), sql("checks/fused")]

    def failing(self) -> list[str]:
        return [*super().failing(), sql("failing/fused")]

    def limits(self, subject: Subject) -> list[Limit]:
        same = Limit("dense_changed", "critical", "Every dense caption is that of the image", 0, 0)
        return [*super().limits(subject), same]


class StudentSuite(_CaptionsSuite):
    """Checks on captions of stage 2, some of them beside those of stage 1."""

    tables: ClassVar[Mapping[str, Sequence[str]]] = {
        "images": ["uid", "status", "split"],
        "pairs": ["uid", "alt_text"],
    }
    inputs = ("images",)

    def queries(self) -> list[str]:
        return [*super().queries(), sql("checks/by_student")]

    def failing(self) -> list[str]:
        return [*super().failing(), sql("failing/by_student")]

    def figures(self, subject: Subject, figures: Figures, lengths: Sequence[int]) -> Figures:
        return {**beside_teacher(subject, figures, lengths), **beside_sample(subject)}

    def limits(self, subject: Subject) -> list[Limit]:
        gap, psi = subject.limit.student_gap, subject.settings.quality.drift.psi_critical
        return [
            *super().limits(subject),
            Limit("student_alt_gap", "critical", "The student uses the alt-text as often as stage 1", high=gap),
            Limit("student_invented_gap", "critical", "The student invents no more facts than stage 1", high=gap),
            Limit("student_length_psi", "warning", "The student's captions are as long as those of stage 1", high=psi),
            *sample_limits(subject),
        ]
