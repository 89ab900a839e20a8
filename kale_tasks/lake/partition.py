"""Partitions: a table, a key and, where a table has more than one partition column, a slice of the key."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyiceberg.expressions import BooleanExpression


@dataclass(frozen=True, order=True)
class Partition:
    """One partition of a table; its text form is `2026-11-01` or `2026-11-01/stage=1`."""

    table: str
    key: str
    slice: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, table: str, key: str, slice_: Mapping[str, Any] | None = None) -> "Partition":
        """Build a partition from a mapping of its further partition columns."""
        return cls(table, key, tuple((slice_ or {}).items()))

    @classmethod
    def parse(cls, table: str, name: str) -> "Partition":
        """Read the text form; values get the types of the table's columns."""
        if "/" not in name:
            return cls(table, name)
        from kale_tasks.lake.columns import INT
        from kale_tasks.lake.schemas import TABLES  # pyarrow is slow to import, and the command line needs keys

        key, *columns = name.split("/")
        schema = TABLES[table].arrow
        pairs = (column.partition("=") for column in columns)
        return cls(table, key, tuple((n, int(v) if schema.field(n).type == INT else v) for n, _, v in pairs))

    @property
    def name(self) -> str:
        """Its text form, without the table."""
        return "/".join([self.key, *(f"{name}={value}" for name, value in self.slice)])

    def __str__(self) -> str:
        return f"{self.table} {self.name}"

    @property
    def columns(self) -> dict[str, Any]:
        """The slice as a mapping."""
        return dict(self.slice)

    def within(self, slice_: Mapping[str, Any]) -> bool:
        """Whether its slice has these values."""
        return slice_.items() <= self.columns.items()


def partition_filter(key: str | None, slice_: Mapping[str, Any] | None = None) -> "BooleanExpression":
    """Select the rows of a key and slice; of the whole table if there is no key."""
    from pyiceberg.expressions import AlwaysTrue, And, EqualTo

    row_filter: BooleanExpression = AlwaysTrue() if key is None else EqualTo(term="key", value=key)
    for name, value in (slice_ or {}).items():
        row_filter = And(row_filter, EqualTo(term=name, value=value))
    return row_filter
