"""Asks DuckDB about rows of the lake. Only the columns and row groups that a question needs are read."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import copy
from functools import lru_cache
from threading import Timer
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from kale_tasks.errors import BadData
from kale_tasks.lake.io_errors import reading
from kale_tasks.lake.listing import DataFile
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.lake.tables import Lake, Slice
from kale_tasks.ui.words import Words

_MEMORY = "512MB"  # of all questions together
_THREADS = 2
_KEPT = 500  # lists of files that are kept, of the current version of tables
SECONDS = 2.0  # a question that takes longer is stopped


class TooLong(BadData):
    """A question about rows took too long and was stopped."""


class Rows:
    """Answers questions about one lake within bounded memory and time."""

    def __init__(self, lake: Lake) -> None:
        self._lake, self._storage = lake, lake.storage
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": _MEMORY,
            "threads": _THREADS,
            "autoinstall_known_extensions": False,
        }
        self._duckdb = duckdb.connect(config=config)
        self._duckdb.execute("SET GLOBAL parquet_metadata_cache = true")  # footers of large files take milliseconds
        self.words = Words(lake.storage)
        self._columns = lru_cache(maxsize=4096)(self._read_columns)
        self._files = lru_cache(maxsize=_KEPT)(self._list_files)

    def of(self, view: Lake) -> "Rows":
        """The same rows, by what a view of the lake says of their files."""
        other = copy(self)
        other._lake = view
        return other

    def files(self, table: str, key: str | None = None, slice_: Slice = None) -> tuple[DataFile, ...]:
        """The files of a table (of a key, of a slice) in row order, as they are committed now."""
        if table not in self._lake.tables():
            return ()
        version = self._lake.table(table).metadata_location
        found: tuple[DataFile, ...] = self._files(version, table, key, tuple((slice_ or {}).items()))
        return found

    def ask(
        self,
        query: str,
        values: Mapping[str, Any],
        tables: Mapping[str, tuple[str, Sequence[DataFile]]],
        seconds: float = SECONDS,
    ) -> list[dict[str, Any]]:
        """Run a SELECT. `tables` gives, by the name in the query, the table of the lake and the files to read.

        Raises TooLong after some seconds, BadData if a file is missing or damaged.
        """
        with self._duckdb.cursor() as connection, reading("rows"):
            timer = Timer(seconds, connection.interrupt)
            timer.start()
            try:
                sources = {n: self._source(connection, n, table, files) for n, (table, files) in tables.items()}
                known = ", ".join(f"{name} AS NOT MATERIALIZED (FROM {one})" for name, one in sources.items())
                found = connection.execute(
                    f"WITH {known} {query}" if known else query, dict(values) if values else None
                )
                names = [column[0] for column in found.description or ()]
                return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
            except duckdb.InterruptException as error:
                raise TooLong(
                    f"The search was stopped after {seconds:g} s. Choose one key, or search fewer columns."
                ) from error
            except duckdb.IOException as error:
                raise BadData(
                    f"A file cannot be read: {str(error).splitlines()[0]} `kale verify` lists damaged files, `kale "
                    f"repair` makes them again."
                ) from error
            finally:
                timer.cancel()

    def _source(self, connection: duckdb.DuckDBPyConnection, name: str, table: str, files: Sequence[DataFile]) -> str:
        schema = TABLES[table].arrow
        if not files:
            connection.register(f"empty_{name}", schema.empty_table())
            return f"empty_{name}"
        stored = set().union(*(self._columns(file.path) for file in files))
        lacking = "".join(f", NULL::{_type(f.type)} AS {f.name}" for f in schema if f.name not in stored)
        storage = self._storage
        if isinstance(storage, FolderStorage):
            paths = ", ".join(_quoted(f.path if "://" in f.path else storage.uri(f.path)) for f in files)
            return f"(SELECT *{lacking} FROM read_parquet([{paths}], union_by_name=true, hive_partitioning=false))"
        import pyarrow.dataset as ds

        rows = ds.dataset([f.path for f in files], schema=schema, format="parquet", filesystem=storage.arrow)
        connection.register(f"stored_{name}", rows)
        return f"stored_{name}"

    def _list_files(self, _: str, table: str, key: str | None, slice_: tuple[tuple[str, Any], ...]) -> Any:
        return tuple(self._lake.files(table, key, dict(slice_)))

    def _read_columns(self, path: str) -> frozenset[str]:
        with suppress(OSError, pa.ArrowInvalid), self._storage.arrow.open_input_file(path) as source:
            return frozenset(pq.read_schema(source).names)
        return frozenset()


def _quoted(text: str) -> str:
    escaped = text.replace("'", "''")
    return f"'{escaped}'"


def _type(arrow: pa.DataType) -> str:
    if pa.types.is_list(arrow):
        return f"{_type(arrow.value_type)}[]"
    known = {pa.int32(): "INTEGER", pa.int64(): "BIGINT", pa.float64(): "DOUBLE", pa.float32(): "FLOAT"}
    return known.get(arrow, "BOOLEAN" if pa.types.is_boolean(arrow) else "VARCHAR")
