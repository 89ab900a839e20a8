"""The documents name files and functions that exist, and the walks through the code are short."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text("utf-8")
MAX_HOPS = 12
OF_OTHERS = {"run_inference.py"}  # a file of datatrove


def references() -> Iterator[tuple[str, str]]:
    """Every `file.py` or `file.py:Name` in the documents: path and name."""
    for page in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        yield from re.findall(r"`([\w/]+\.py)(?::([\w.]+))?`", page.read_text("utf-8"))


def files(path: str) -> list[Path]:
    """The files that a path in a document may mean: from the root, from the package, or in one of its folders."""
    patterns = (path, f"kale_tasks/{path}", f"kale_tasks/*/{path}", f"tests/*/{path}", f"examples/*/{path}")
    return [found for pattern in patterns for found in ROOT.glob(pattern)]


def defines(text: str, name: str) -> bool:
    """Whether a module defines a name; `Class.method` names both."""
    first, *rest = name.split(".")
    top = re.search(rf"^(?:(?:async )?def|class) {first}\b|^{first}\b", text, re.M)
    return bool(top) and all(re.search(rf"def {method}\b", text) for method in rest)


@pytest.mark.parametrize(("path", "name"), sorted(set(references())))
def test_what_the_documents_name_exists(path: str, name: str) -> None:
    found = files(path)
    assert found or path in OF_OTHERS, f"no document should name {path}: it does not exist"
    assert not name or any(defines(file.read_text("utf-8"), name) for file in found), f"{path} defines no {name}"


@pytest.mark.parametrize("walk", ["How a key is made", "How a row travels"])
def test_the_walks_have_few_hops(walk: str) -> None:
    hops = re.findall(r"^\d+\. ", ARCHITECTURE.partition(f"## {walk}\n")[2].partition("\n## ")[0], re.M)
    assert 8 <= len(hops) <= MAX_HOPS


@pytest.mark.parametrize("part", ["rule", "check", "engine", "expert", "scorer", "format", "target"])
def test_the_lines_of_the_example_parts_are_counted_right(part: str) -> None:
    lines = len((ROOT / f"examples/plugin/kale_example_parts/{part}.py").read_text("utf-8").splitlines())
    (row,) = re.findall(rf"^\| (?:a|an) (?:release )?{part}\b.*$", ARCHITECTURE, re.M)
    assert f"1 file of {lines} " in row
