"""Rows on their way through a captioning step: pending ones, parts of them, and what became of an answer."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kale_tasks.recipes.parts import Message

Row = dict[str, Any]


@dataclass(frozen=True)
class NoCaption:
    """Why an answer gave no row. `fallback` is the row to use if asking again does not help; without it, the row is
    quarantined."""

    reason: str
    detail: str = ""
    fallback: Row | None = None


@dataclass(frozen=True)
class NextTurn:
    """The conversation as it goes on after an answer: it is asked next."""

    messages: Sequence[Message]


@dataclass(frozen=True)
class CaptionResult:
    """What a step made of an answer, the cleaning rules that changed or refused it, and the text before and after."""

    outcome: Row | NoCaption | NextTurn
    rules: Sequence[str] = ()
    before: str = ""
    after: str = ""


@dataclass
class PendingRow:
    """A row to be captioned: its request, the source columns that the result needs, and its outcome once decided."""

    uid: str
    messages: Sequence[Message] = ()
    image: bytes | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    outcome: Row | NoCaption | None = None
    retries: int = 0
    candidate: int = 0  # rows with the same prompt and another number get another seed
    turn: int = 0
    made_from: str = ""  # hash of all that decides the text


@dataclass
class PendingPart:
    """A part whose rows are being captioned; `undecided` counts the rows without an outcome."""

    number: int
    rows_in: int
    rows: Sequence[PendingRow]
    dropped: Counter[str] = field(default_factory=Counter)
    metrics: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[Row]] = field(default_factory=dict)
    undecided: int = 0
