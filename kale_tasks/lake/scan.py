"""Reads data files by Arrow, which compares the checksum of every page, as the scan of pyiceberg does not."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
from pyiceberg.expressions import AlwaysTrue, BooleanExpression
from pyiceberg.expressions.parser import parse
from pyiceberg.expressions.visitors import bind
from pyiceberg.io.pyarrow import expression_to_pyarrow
from pyiceberg.schema import Schema

from kale_tasks.lake.parts import CHECKED_PARQUET

Where = BooleanExpression | str | None  # which rows


def parsed(where: Where) -> BooleanExpression:
    """Return the condition as an expression of Iceberg."""
    return AlwaysTrue() if where is None else parse(where) if isinstance(where, str) else where


def scanner(
    files: pafs.FileSystem,
    paths: Sequence[str],
    iceberg: Schema,
    schema: pa.Schema,
    columns: Sequence[str] | None,
    where: Where,
) -> ds.Scanner:
    """Scan files, one after the other, for the rows that a condition keeps; columns that a file lacks are null."""
    rows = ds.dataset(list(paths), schema, CHECKED_PARQUET, files) if paths else ds.dataset([schema.empty_table()])
    wanted = expression_to_pyarrow(bind(iceberg, parsed(where), case_sensitive=True))
    return rows.scanner(columns=list(columns) if columns else None, filter=wanted)
