"""The contract of every step: plan, work, commit. What a step brings, and the words it is spoken in."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from kale_tasks.errors import BadData, Conflict
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.lake.verdicts import failed_check
from kale_tasks.settings.model import Settings

if TYPE_CHECKING:
    from kale_tasks.runner.run import Run


class Chunk(BaseModel):
    """One task's share of a run: which parts it makes, from which rows; references and counts, never rows."""

    model_config = ConfigDict(frozen=True)

    index: int
    first_part: int
    parts: int
    start: int = 0
    stop: int = 0

    @property
    def numbers(self) -> range:
        """The numbers of its parts."""
        return range(self.first_part, self.first_part + self.parts)


class Plan(BaseModel):
    """What a run will do: its fingerprint, what it builds on, and its chunks (none: all is committed already)."""

    model_config = ConfigDict(frozen=True)

    step: str
    key: str
    fingerprint: str
    generation: int = 0
    base: str | None = None
    inputs: dict[str, str] = {}
    committed: bool = False
    chunks: list[Chunk] = []


@dataclass(frozen=True)
class Quarantined:
    """A row taken out, and why."""

    uid: str
    reason: str
    detail: str = ""
    attempts: int = 1


@dataclass(frozen=True)
class Part:
    """Finished rows of one part and the account of those that did not make it."""

    number: int
    rows: pa.Table
    rows_in: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    quarantine: Sequence[Quarantined] = ()
    also: Mapping[str, pa.Table] = field(default_factory=dict)  # rows for the step's other tables
    metrics: Mapping[str, float] = field(default_factory=dict)  # counts that a rerun repeats (tokens), never times


class Step(Protocol):
    """What a step brings; everything else about running it is the same for all and stands below."""

    name: ClassVar[str]
    version: ClassVar[int]
    table: ClassVar[str]
    slice: ClassVar[Mapping[str, Any]]
    also: ClassVar[tuple[str, ...]]  # further tables it writes, beside quarantine
    keep: ClassVar[bool]  # True: a commit adds to the key instead of replacing it (registries)

    def config(self, settings: Settings) -> Mapping[str, Any]:
        """The settings that change its rows."""

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, str]:
        """The content of each input by name; Conflict when one is not there yet."""

    def chunks(self, run: "Run") -> Sequence[Chunk]:
        """How the work is cut. Pure: nothing is written, no row is read."""

    def work(self, run: "Run", chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        """Make the given parts of a chunk, in any order; a PartMeta stands for a part already written elsewhere."""


@runtime_checkable
class BeforeCommit(Protocol):
    """What a step may bring besides: a last look over all its parts."""

    def before_commit(self, run: "Run", metas: Mapping[int, PartMeta]) -> Iterator[Part]:
        """The parts that must be others now that all stand; called again after a crash, it yields the same."""


@runtime_checkable
class AfterCommit(Protocol):
    """What a step may bring besides: something to do once its rows stand."""

    def after_commit(self, run: "Run", committed: Committed) -> None:
        """Called after each commit, a repeated one too: the second call must change nothing."""


def fingerprint(step: Step, config: Mapping[str, Any], inputs: Mapping[str, str], generation: int = 0) -> str:
    """The name of a run: same step, settings and inputs give the same on any machine."""
    known = [step.name, step.version, config, inputs, *([generation] if generation else [])]
    text = json.dumps(known, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def row_chunks(settings: Settings, rows: int) -> list[Chunk]:
    """Cuts numbered rows into chunks of whole parts: the usual plan of a step that maps over an input."""
    rows = min(rows, settings.limit or rows)
    part_rows = settings.parts.part_rows
    chunk_parts = max(1, settings.parts.chunk_rows // part_rows)
    span = chunk_parts * part_rows
    return [
        Chunk(index=i, first_part=i * chunk_parts, parts=-(-(min(start + span, rows) - start) // part_rows),
              start=start, stop=min(start + span, rows))
        for i, start in enumerate(range(0, rows, span))
    ]  # fmt: skip


def part_span(settings: Settings, chunk: Chunk, number: int) -> tuple[int, int]:
    """The rows of one part of a chunk made by `row_chunks`."""
    start = chunk.start + (number - chunk.first_part) * settings.parts.part_rows
    return start, min(start + settings.parts.part_rows, chunk.stop)


def committed_input(lake: Lake, table: str, key: str, slice_: Mapping[str, Any] | None = None) -> str:
    """The content of a committed input, for a step's `inputs`."""
    found = lake.committed(table, key, slice_)
    if found is None:
        raise Conflict(f"{table} has nothing committed for {key} yet. Run the step that makes it first.")
    if why := failed_check(lake, table, key, slice_):
        raise BadData(f"{why}. Mend it and run it again, or take it as it is: kale check … --accept 'why'.")
    return found.content
