"""Spoils the rows of a clean table, and reads the stored result of its checks."""

from collections.abc import Callable
from typing import Any

import pytest

from kale_tasks.errors import BadData
from kale_tasks.lake.tables import Lake
from kale_tasks.quality import verdict
from kale_tasks.quality.check import check_run
from kale_tasks.quality.verdict import CheckResult
from tests.quality.world import SLICES, STEPS, Rows

Spoil = Callable[[Rows], Rows]


def each(**changes: Any) -> Spoil:
    """Every row with some columns replaced: by a value, or by a function of the row."""
    return share(1.0, **changes)


def share(part: float, **changes: Any) -> Spoil:
    """The same for a share of the rows, spread evenly."""

    def spoil(rows: Rows) -> Rows:
        hit = {int(i / part) for i in range(int(len(rows) * part) + 1)}
        return [
            row | {c: v(row) if callable(v) else v for c, v in changes.items()} if i in hit else row
            for i, row in enumerate(rows)
        ]

    return spoil


def swapped(a: str, b: str) -> Spoil:
    """Two columns in each other's place."""
    return each(**{a: lambda row: row.get(b), b: lambda row: row.get(a)})


def first_twice(rows: Rows) -> Rows:
    return [rows[0], *rows]


def shuffled(rows: Rows) -> Rows:
    return [*rows[150:], *rows[:150]]


def shifted(column: str) -> Spoil:
    """Each row with the value of the next one."""
    return lambda rows: [a | {column: b[column]} for a, b in zip(rows, [*rows[1:], rows[0]], strict=True)]


def failing(part: float, reason: str) -> Spoil:
    lost = dict.fromkeys(("shard", "offset", "length", "sha256", "sha256_matches", "width", "height", "mime"))
    return share(part, status="failed", reason=reason, **lost)


def appended(column: str, text: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: f"{row[column]} {text}"


def failed(lake: Lake, step: str, key: str) -> CheckResult:
    """The stored result of checks that must fail."""
    with pytest.raises(BadData):
        check_run(lake, lake.settings, step, key)
    return stored(lake, step, key)


def stored(lake: Lake, step: str, key: str) -> CheckResult:
    slice_ = SLICES.get(step, {})
    committed = lake.committed(STEPS[step], key, slice_)
    assert committed
    result = verdict.read(lake.storage, committed.seal_id)
    assert result
    return result
