"""The contract of a step: what a class must define so that the runner can plan, work and commit it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from kale_tasks.contract.types import Chunk, Part
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.settings.model import Settings

Input = Snapshot | str  # an opened partition, or the content hash of something outside the lake


class Step(ABC):
    """A named transformation of partitions. Everything else about running it is the runner's."""

    name: ClassVar[str]
    version: ClassVar[int] = 1  # raised when the code makes other rows from the same inputs and settings
    table: ClassVar[str]
    slice: ClassVar[Mapping[str, Any]] = {}
    also: ClassVar[tuple[str, ...]] = ()  # side tables, besides quarantine
    # The table on whose earlier keys its rows depend through marks instead of the fingerprint.
    side_table: ClassVar[str] = ""
    suite: str | None = None  # dotted name of its check suite; `StepSpec.load` sets it
    as_made: ClassVar[bool] = True  # False: a takedown in an input makes the step's rows stale
    keep: ClassVar[bool] = False  # True: a commit adds to the key instead of replacing it (registries)
    carries: ClassVar[bool] = False  # True: rows of the committed run that nothing has changed for are carried over

    def partition(self, key: str) -> Partition:
        """The partition that the step makes for a key."""
        return Partition.of(self.table, key, self.slice)

    def side_slice(self, table: str) -> Mapping[str, Any]:
        """The slice of its rows in a side table: of quarantine, its name, with the recipe if it is a step of one."""
        if table != "quarantine":
            return {column: self.slice[column] for column in TABLES[table].partition[1:]}
        recipe = self.slice.get("recipe")
        return {"step": f"{self.name}@{recipe}" if recipe else self.name}

    @abstractmethod
    def config(self, settings: Settings) -> Mapping[str, Any]:
        """Return the settings that change the step's rows."""

    @abstractmethod
    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        """Open the inputs by name; raises Conflict if one does not exist yet."""

    def side_snapshot(self, lake: Lake) -> int | None:
        """Return the snapshot of the side table to read; None if there are no rows yet, or no such table."""
        current = lake.table(self.side_table).current_snapshot() if self.side_table else None
        return current.snapshot_id if current else None

    @abstractmethod
    def chunks(self, run: Any) -> Sequence[Chunk]:
        """Divide the work. Writes nothing and reads no row."""

    @abstractmethod
    def work(self, run: Any, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        """Make the given parts in any order; yield a PartMeta for a part that another process has written."""

    def close(self) -> None:  # noqa: B027 - most steps keep nothing
        """Release what `work` keeps from one chunk to the next, such as a loaded model."""

    def finalize(self, run: Any, receipts: Mapping[int, Any]) -> Iterator[Part]:
        """Yield parts that must be rewritten once all parts exist. Must be deterministic."""
        yield from ()

    def summary(self, run: Any) -> str:
        """Say in one phrase what the number of rows does not tell about a committed run."""
        return ""

    def after_commit(self, run: Any, committed: Committed) -> None:  # noqa: B027 - most steps have nothing to do
        """Act on a commit. Called after each commit, also a repeated one: must be idempotent."""


def contents(inputs: Mapping[str, Input], *, as_made: bool = True) -> dict[str, str]:
    """The content hash of each input: as its run made it, or as it is now, after takedowns."""
    return {
        name: found if isinstance(found, str) else found.identity if as_made else found.content
        for name, found in inputs.items()
    }


def row_chunks(settings: Settings, rows: int) -> list[Chunk]:
    """Divide numbered rows into chunks of whole parts: the usual plan of a step that maps over an input."""
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
    """The rows of one part of a chunk made by `row_chunks`, as start and stop."""
    start = chunk.start + (number - chunk.first_part) * settings.parts.part_rows
    return start, min(start + settings.parts.part_rows, chunk.stop)


def committed_input(lake: Lake, table: str, key: str, slice_: Mapping[str, Any] | None = None) -> Snapshot:
    """Open a committed partition for a step's `inputs`; Conflict if there is none yet."""
    return Snapshot.open(lake, Partition.of(table, key, slice_))
