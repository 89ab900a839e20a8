"""What runs the queries: the words that DuckDB and Spark are both spoken to in."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import pyarrow as pa

from kale_tasks.ingest.pieces import Piece
from kale_tasks.ingest.scan import Scan
from kale_tasks.lake.parts import PartMeta
from kale_tasks.resources import sql

Value = int | float | str | None
Consume = Callable[[Iterator[pa.RecordBatch]], Iterator[PartMeta]]


class Engine(Protocol):
    """Tables by name, made from files and from queries; rows never pass through the caller."""

    def scan(self, scan: Scan, pieces: Sequence[Piece]) -> Iterator[str]:
        """Clean every piece on the engine's workers; yields the files as they are done."""

    def read(self, name: str, paths: Sequence[str], schema: pa.Schema) -> None:
        """Files of the warehouse as a table."""

    def view(self, name: str, query: str) -> None:
        """A query as a table, computed when it is asked for."""

    def keep(self, name: str, query: str) -> None:
        """A query as a table, computed once."""

    def count(self, query: str) -> int:
        """The one number that a query answers with."""

    def consume(self, query: str, consume: Consume) -> Iterator[PartMeta]:
        """Hand the rows of a query, sorted by part, uid and id, to the workers; a part is never torn between two."""

    def close(self) -> None:
        """Let go of everything."""


def query(name: str, values: Mapping[str, Value] | None = None, **names: Value) -> str:
    """A shipped query with its `:values` and its `{names}` filled in."""
    text = sql(f"ingest/{name}")
    for key, value in names.items():
        text = text.replace(f"{{{key}}}", str(value))
    return re.sub(r"(?<![:\w]):([a-z_0-9]+)", lambda m: _literal((values or {})[m[1]]), text)


def _literal(value: Value) -> str:
    return "NULL" if value is None else repr(value)
