"""The interface of the engines that run the queries of ingest, DuckDB and Spark."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from kale_tasks.ingest.earlier import EarlierEntries
from kale_tasks.ingest.pieces import Piece
from kale_tasks.ingest.scan import Scan
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.segments import Segment
from kale_tasks.resources import sql

Value = int | float | str | None
Consume = Callable[[Iterator[pa.RecordBatch]], Iterator[PartMeta]]
PARAMETER = re.compile(r"(?<![:\w]):([a-z]\w*)")
_COMMENT = re.compile(r"--.*")


@dataclass(frozen=True)
class Query:
    """A SELECT with the values of its `:name` parameters, which the engine binds."""

    text: str
    values: Mapping[str, Value] = field(default_factory=dict)


class Engine(Protocol):
    """Holds named tables made from files and queries. Rows never pass through the caller."""

    def scan(self, scan: Scan, pieces: Sequence[Piece]) -> Iterator[str]:
        """Clean every piece on the engine's workers and yield the paths of the files they write."""

    def search(self, entries: EarlierEntries, segments: Sequence[Segment]) -> Iterator[str]:
        """Find what segments of the index share with this key and yield the paths of the files with it."""

    def read(self, name: str, paths: Sequence[str], schema: pa.Schema) -> None:
        """Register Parquet files of the warehouse as a table."""

    def create_view(self, name: str, query: Query) -> None:
        """Register the result of a query as a table that may be computed on use, replacing a table of that name."""

    def create_table(self, name: str, query: Query) -> None:
        """Compute a query once and register its result as a table, replacing a table of that name."""

    def fetch_number(self, query: Query) -> int:
        """Return the single number that a query selects."""

    def consume(self, query: Query, consume: Consume) -> Iterator[PartMeta]:
        """Pass the rows of a query, sorted by part, uid and id, to `consume` on the workers.

        All rows of a part go to the same call.
        """

    def close(self) -> None:
        """Release all resources."""


def query(name: str, values: Mapping[str, Value] | None = None, **identifiers: str) -> Query:
    """Load a shipped query from `sql/ingest/`.

    Identifiers (names of tables and columns) replace `{name}` in its text. Values are bound to its `:name` parameters;
    values that it does not use are ignored.
    """
    text = _COMMENT.sub("", sql(f"ingest/{name}")).format(**identifiers)
    return Query(text, {used: (values or {})[used] for used in PARAMETER.findall(text)})
