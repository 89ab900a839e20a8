"""The values that steps and the runner exchange: chunks, plans, parts, quarantined rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
from pydantic import BaseModel, ConfigDict


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


class Plan(BaseModel):
    """What a run will do: its fingerprint, the run it replaces, its inputs and chunks; no chunks if it is committed."""

    model_config = ConfigDict(frozen=True)

    step: str
    key: str
    fingerprint: str
    generation: int = 0
    request: str = ""
    base: str | None = None
    inputs: dict[str, str] = {}
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
