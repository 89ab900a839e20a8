"""What a table of the lake is described by: columns with their types and meanings, and the types themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

STRING, INT, LONG, DOUBLE, BOOL = pa.string(), pa.int32(), pa.int64(), pa.float64(), pa.bool_()
FLOAT = pa.float32()
VECTOR = pa.list_(pa.field("element", FLOAT, nullable=True))
TIME = pa.timestamp("us", tz="UTC")
STRINGS = pa.list_(pa.field("element", STRING, nullable=True))
BOXES = pa.list_(pa.field("element", pa.list_(pa.field("element", DOUBLE, nullable=True)), nullable=True))


@dataclass(frozen=True)
class Column:
    """One column; only those that every row must have are `required`."""

    name: str
    type: pa.DataType
    meaning: str
    required: bool = False


@dataclass(frozen=True)
class TableSpec:
    """One table: what a row is, its columns, and the columns it is partitioned by."""

    name: str
    row: str
    columns: Sequence[Column]
    partition: tuple[str, ...] = ("key",)

    @cached_property
    def arrow(self) -> pa.Schema:
        """The schema of its part files."""
        return pa.schema([pa.field(c.name, c.type, nullable=not c.required) for c in self.columns])

    def selected(self, names: Sequence[str] | None) -> pa.Schema:
        """The schema of some columns as they are read, all nullable; of every column if there are no names."""
        schema = self.arrow
        return pa.schema([pa.field(name, schema.field(name).type) for name in names or schema.names])


def fill_columns(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Give rows the columns and types of a schema, in its order. Columns that they lack are null."""
    columns = [
        rows[f.name].cast(f.type) if f.name in rows.column_names else pa.nulls(rows.num_rows, f.type) for f in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
