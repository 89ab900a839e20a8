"""The data dictionary as a page: `python -m kale_tasks.lake.data_dictionary > docs/data.md`."""

from collections.abc import Iterator

import pyarrow as pa

from kale_tasks.lake.columns import Column, TableSpec
from kale_tasks.lake.schemas import TABLES

_HEAD = """\
# The tables

Every table is an Iceberg table of the warehouse. `kale show TABLE --key K` reads one, and so does any engine that
can open the catalog. Within a key, rows are sorted by `uid`. A nullable column is null if the source gives no value,
or if the row was written by an older version of KALE.

This page is made from `kale_tasks/lake/schemas.py` by `python -m kale_tasks.lake.data_dictionary > docs/data.md`.
"""


def page() -> str:
    """Every table: what a row is, how it is partitioned, each column with its type and meaning."""
    return "\n".join([_HEAD, *(line for spec in TABLES.values() for line in _table(spec))])


def _table(spec: TableSpec) -> Iterator[str]:
    yield f"## {spec.name}\n"
    yield f"A row is {spec.row}. Partitioned by {' and '.join(f'`{name}`' for name in spec.partition)}.\n"
    yield "| column | type | null | meaning |\n|---|---|---|---|"
    yield from (_row(column) for column in spec.columns)
    yield ""


def _row(column: Column) -> str:
    return f"| `{column.name}` | {_type(column.type)} | {'no' if column.required else 'yes'} | {column.meaning} |"


def _type(arrow: pa.DataType) -> str:
    # As Iceberg calls them, which is what a reader in SQL sees.
    if pa.types.is_list(arrow):
        return f"list of {_type(arrow.value_type)}"
    if pa.types.is_timestamp(arrow):
        return "timestamptz"
    return {"int32": "int", "int64": "long", "bool": "boolean"}.get(str(arrow), str(arrow))


if __name__ == "__main__":
    print(page(), end="")
