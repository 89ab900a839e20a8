"""The values that steps and the runner exchange: chunks, plans, parts, quarantined rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from kale_tasks.lake.listing import DataFile
from kale_tasks.lake.tables import Committed


class Chunk(BaseModel):
    """The share of one task in a run: the parts it makes and the rows it reads, as numbers."""

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


class Pin(BaseModel):
    """An input as the plan opened it: the exact files that every later process reads."""

    model_config = ConfigDict(frozen=True)

    table: str
    name: str  # of the partition, without the table
    committed: Committed
    files: tuple[DataFile, ...]


class Plan(BaseModel):
    """What a run will do. Later processes take settings and inputs from it, never from the lake as it is by then."""

    model_config = ConfigDict(frozen=True)

    step: str
    version: str  # of this package and of the step
    key: str
    fingerprint: str
    because: tuple[str, ...] = ()  # names of the marks that this run and those before it have answered
    base: str | None = None  # origin of the run that this one replaces
    settings: dict[str, Any] = {}  # every setting that can change rows
    config: dict[str, Any] = {}  # what the step hashes of them, with the contents of recipes and lists
    inputs: dict[str, str] = {}
    pins: dict[str, Pin] = {}
    side_snapshot: int | None = (
        None  # of the step's side table; named instead of its files, of which every key has some
    )
    former: Pin | None = None  # the rows to be replaced; those that nothing has changed for are carried over
    committed: bool = False
    chunks: list[Chunk] = []


@dataclass(frozen=True)
class Quarantined:
    """A row that could not be processed, and the reason."""

    uid: str
    reason: str
    detail: str = ""
    attempts: int = 1


@dataclass(frozen=True)
class Part:
    """The rows of one part, and an account of those that were dropped or quarantined."""

    number: int
    rows: pa.Table
    rows_in: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    quarantine: Sequence[Quarantined] = ()
    also: Mapping[str, pa.Table] = field(default_factory=dict)  # rows for the step's side tables
    metrics: Mapping[str, float] = field(default_factory=dict)  # counts that a rerun repeats (tokens), never times
    shards: Sequence[str] = ()  # further files that its rows refer to, relative to the warehouse
