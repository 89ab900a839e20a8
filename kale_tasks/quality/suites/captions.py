"""What must hold for `dense` and for `captions` of both stages."""

from functools import reduce
from typing import Any

import great_expectations.expectations as gxe
import pyarrow as pa
import pyarrow.compute as pc
from great_expectations.expectations.expectation import Expectation

from kale_tasks.quality.drift import beside_teacher
from kale_tasks.quality.features import foreign, loops, text_features
from kale_tasks.quality.suite import Limit, Subject, Suite
from kale_tasks.quality.suites.common import between, expect, named, never, one_of, there
from kale_tasks.quality.suites.pairs import most_copies

_WRITTEN = ["recipe", "engine", "prompt_hash", "tokens_in", "tokens_out", "finish_reason"]
_FACTS = ["facts", "facts_from_alt", "facts_from_dense", "facts_invented"]


def _text(text: Any) -> dict[str, Any]:
    return {
        "said": text,
        **text_features(text, ["refusal", "leaked", "mojibake"]),
        "loop": loops(text),
        "foreign_text": foreign(text),
        "blank": pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(pc.fill_null(text, ""))), 0),
    }


def _dense_features(rows: pa.Table) -> dict[str, Any]:
    return _text(rows["text"])


def _caption_features(rows: pa.Table) -> dict[str, Any]:
    nameless = pc.equal(pc.fill_null(pc.list_value_length(rows["models"]), 0), 0)
    lacking = reduce(pc.or_, [pc.is_null(rows[column]) for column in ("engine", "prompt_hash", "finish_reason")])
    plain = pc.fill_null(
        pc.equal(rows["caption"], rows["dense_caption"]), False
    )  # noise beside it: the dense caption stands
    return {**_text(rows["caption"]), "nameless": nameless, "unexplained": pc.and_(lacking, pc.invert(plain))}


def _written() -> list[Expectation]:
    return [
        *named(),
        *there("recipe"),
        one_of("finish_reason", "stop", "length"),
        between("tokens_out", 1),
        *never(blank="No caption is empty"),
    ]


def _dense_expect() -> list[Expectation]:
    return [*_written(), *there("text", "model", "engine", "prompt_hash", "finish_reason")]


def _caption_expect() -> list[Expectation]:
    return [
        *_written(),
        *there("caption", "alt_text", "url"),
        *never(
            nameless="Every caption names its models",
            unexplained="A caption that is not the dense one says how it was made",
        ),
        *(
            expect(f"{part}_within_facts", f"{part} is a part of facts", gxe.ExpectColumnPairValuesAToBeGreaterThanB,
                   column_A="facts", column_B=part, or_equal=True, ignore_row_if="either_value_is_missing")
            for part in _FACTS[1:]
        ),
    ]  # fmt: skip


def _written_limits(subject: Subject) -> list[Limit]:
    limit = subject.limit
    return [
        Limit("refusal_share", "critical", "Captions describe, they do not refuse or chat", high=limit.refusal_max),
        Limit("leaked_share", "critical", "No words of the prompt leaked", high=limit.leak_max),
        Limit("truncated_share", "critical", "Captions end where they end", high=limit.truncated_max),
        Limit("loop_share", "critical", "Captions do not go round in circles", high=limit.loop_max),
        Limit("foreign_share", "critical", "Captions are English", high=limit.foreign_max),
        Limit("mojibake_share", "critical", "Captions were decoded rightly", high=limit.mojibake_max),
        Limit("text_copies", "critical", "No caption stands for all", high=most_copies(subject)),
        Limit("words_mean", "critical", "Captions have a sound length", limit.words_mean_min, limit.words_mean_max),
        Limit("prompts", "warning", "One prompt made all", high=1),
        Limit("orphans", "critical", "Every caption belongs to an image that came", 0, 0),
        Limit("wrong_split", "critical", "Only images of the right split are captioned", 0, 0),
    ]


def _caption_limits(subject: Subject) -> list[Limit]:
    limit = subject.limit
    return [
        *_written_limits(subject),
        Limit("invented_share", "critical", "Facts come from a source", high=limit.invented_max),
        Limit("alt_used_share", "critical", "Captions carry facts of the alt-text", low=limit.alt_used_min),
        Limit("alt_changed", "critical", "The alt-text is the pair's, byte for byte", 0, 0),
        Limit("copied_share", "critical", "Captions are no copies of the alt-text", high=limit.copied_max),
    ]


def _fuse_limits(subject: Subject) -> list[Limit]:
    return [*_caption_limits(subject), Limit("dense_changed", "critical", "The dense caption is the image's own", 0, 0)]


def _student_limits(subject: Subject) -> list[Limit]:
    gap, psi = subject.limit.student_gap, subject.settings.quality.drift.psi_critical
    return [
        *_caption_limits(subject),
        Limit("student_alt_gap", "critical", "The student carries facts as its teacher does", high=gap),
        Limit("student_invented_gap", "critical", "The student invents no more than its teacher", high=gap),
        Limit("student_length_psi", "warning", "The student writes as long as its teacher", high=psi),
    ]


DENSE = Suite(
    step="dense",
    table="dense",
    columns=["uid", "text", "model", *_WRITTEN],
    features=_dense_features,
    expect=_dense_expect,
    limits=_written_limits,
    others={"images": ["uid", "status", "split"]},
    inputs=["images"],
    queries=["text", "dense"],
)

_CAPTION_COLUMNS = ["uid", "url", "alt_text", "dense_caption", "caption", "models", *_WRITTEN, *_FACTS]

FUSE = Suite(
    step="fuse",
    table="captions",
    slice={"stage": 1},
    columns=_CAPTION_COLUMNS,
    features=_caption_features,
    expect=_caption_expect,
    limits=_fuse_limits,
    others={"images": ["uid", "status", "split"], "pairs": ["uid", "alt_text"], "dense": ["uid", "text"]},
    inputs=["dense"],
    queries=["text", "captions", "fused"],
)

STUDENT = Suite(
    step="student",
    table="captions",
    slice={"stage": 2},
    columns=_CAPTION_COLUMNS,
    features=_caption_features,
    expect=_caption_expect,
    limits=_student_limits,
    others={"images": ["uid", "status", "split"], "pairs": ["uid", "alt_text"]},
    inputs=["images"],
    queries=["text", "captions", "by_student"],
    more=beside_teacher,
)
