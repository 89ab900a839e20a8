"""Parts by name: built in, or from another package's entry points."""

import sys
from pathlib import Path

import pytest

from kale_tasks.errors import BadConfig
from kale_tasks.registry import Registry


def package(folder: Path, entries: str, code: str = "part = 'mine'") -> None:
    """An installed package: a module, and the metadata that an installer would write."""
    (folder / "their_parts.py").write_text(code)
    info = folder / "their_parts-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-parts\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[kale.tests]\n{entries}\n")


def registry() -> Registry[object]:
    return Registry("part", "kale.tests", {"path": "pathlib:Path"})


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("their_parts", None)


def test_a_built_in_part_is_found_without_looking_at_other_packages() -> None:
    assert registry().find("path") is Path


def test_a_part_of_another_package_is_found_and_listed(site: Path) -> None:
    package(site, "theirs = their_parts:part")
    assert registry().find("theirs") == "mine"
    assert registry().names == ["path", "theirs"]


def test_listing_imports_nothing(site: Path) -> None:
    package(site, "theirs = their_parts:part", "raise RuntimeError('imported')")
    assert registry().reference("theirs") == "their_parts:part"
    assert "theirs" in registry().names


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(BadConfig, match=r"no part 'nothing'. Known: path"):
        registry().find("nothing")


def test_a_package_cannot_replace_a_built_in_part(site: Path) -> None:
    package(site, "path = their_parts:part")
    with pytest.raises(BadConfig, match="Rename it"):
        registry().names  # noqa: B018


def test_a_part_that_cannot_be_imported_says_so(site: Path) -> None:
    package(site, "theirs = their_parts:part", "import nothing_of_that_name")
    with pytest.raises(BadConfig, match="nothing_of_that_name"):
        registry().find("theirs")
