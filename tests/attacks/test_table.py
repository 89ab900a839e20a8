"""The table of attacks in docs/security.md names tests that exist, one at least for each promise."""

import ast
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROMISES = yaml.safe_load(Path(__file__).with_name("promises.yaml").read_text("utf-8"))
DOCS = ROOT / "docs" / "security.md"


def table() -> str:
    """The promises as docs/security.md shows them."""
    rows = [f"| {one['promise']} | {one['attack']} | {_cell(one['tests'])} |" for one in PROMISES]
    return "\n".join(["| promise | attack | tests |", "|---|---|---|", *rows])


def _cell(tests: list[str]) -> str:
    return "<br>".join(f"`{test.replace('tests/', '', 1).replace('::', ' ')}`" for test in tests)


@cache
def defined_in(file: str) -> set[str]:
    """The tests that a file defines at its outermost level, where pytest collects them."""
    body = ast.parse((ROOT / file).read_text("utf-8")).body
    inside = [one for top in body for one in (top.body if isinstance(top, ast.If) else [top])]
    return {one.name for one in inside if isinstance(one, ast.FunctionDef) and one.name.startswith("test_")}


@pytest.mark.parametrize("promise", PROMISES, ids=lambda one: one["promise"])
def test_every_promise_is_attacked_by_tests_that_exist(promise: dict[str, list[str]]) -> None:
    assert promise["tests"]
    for test in promise["tests"]:
        file, _, name = test.partition("::")
        assert (name in defined_in(file)) if name else defined_in(file), test


def test_the_documents_show_the_table() -> None:
    assert table() in DOCS.read_text("utf-8")


if __name__ == "__main__":  # the table, for docs/security.md
    print(table())
