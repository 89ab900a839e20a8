"""The tables of attacks and faults in the documents name tests that exist, one at least for each row."""

import ast
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TABLES = {"docs/security.md": "tests/attacks/promises.yaml", "docs/operations.md": "tests/faults/faults.yaml"}
ROWS = {page: yaml.safe_load((ROOT / file).read_text("utf-8")) for page, file in TABLES.items()}
Row = dict[str, Any]


def table(page: str) -> str:
    """The rows as a page shows them."""
    rows = [[*[*row.values()][:2], _cell([*row["tests"], *row.get("also", ())])] for row in ROWS[page]]
    lines = [" | ".join(line) for line in ([*ROWS[page][0]][:3], ["---"] * 3, *rows)]
    return "\n".join(f"| {line} |" for line in lines)


def _cell(tests: list[str]) -> str:
    return "<br>".join(f"`{test.replace('::', ' ')}`" for test in tests)


@cache
def defined_in(file: str) -> set[str]:
    """The tests that a file defines at its outermost level, where pytest collects them."""
    body = ast.parse((ROOT / file).read_text("utf-8")).body
    inside = [one for top in body for one in (top.body if isinstance(top, ast.If) else [top])]
    return {one.name for one in inside if isinstance(one, ast.FunctionDef) and one.name.startswith("test_")}


@pytest.mark.parametrize(
    "row", [row for rows in ROWS.values() for row in rows], ids=lambda row: next(iter(row.values()))
)
def test_every_row_has_tests_that_exist(row: Row) -> None:
    assert row["tests"]
    for test in [*row["tests"], *(one for one in row.get("also", ()) if "::" in one)]:
        file, _, name = test.partition("::")
        assert (name in defined_in(file)) if name else defined_in(file), test


@pytest.mark.parametrize("page", TABLES)
def test_the_documents_show_the_table(page: str) -> None:
    assert table(page) in (ROOT / page).read_text("utf-8")


if __name__ == "__main__":  # the table of a page
    print(table(sys.argv[1]))
