"""Models are found by name and pinned to their content."""

from pathlib import Path

import pytest

from kale_tasks.errors import BadConfig
from kale_tasks.models.locate import content, locate, pinned
from kale_tasks.world.models import CHECKPOINTS


def test_a_source_resolves_its_own_names() -> None:
    assert locate("sample:teacher") == CHECKPOINTS / "teacher"
    assert pinned("sample:teacher").startswith("sample:teacher@")


def test_an_unknown_source_lists_the_known_ones() -> None:
    with pytest.raises(BadConfig, match=r"no model source 'lab'\. Known: sample"):
        locate("lab:captioner")


@pytest.mark.parametrize("name", ["Qwen/Some-Model@main", "nowhere", "sample:nobody"])
def test_an_unpinned_or_missing_model_is_a_configuration_error(name: str) -> None:
    with pytest.raises(BadConfig):
        pinned(name)


def test_a_model_card_changes_no_pin(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    before = pinned(str(tmp_path))
    (tmp_path / "README.md").write_text("A model.")
    content.cache_clear()
    assert pinned(str(tmp_path)) == before


def test_a_folder_is_pinned_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert locate(str(tmp_path)) == tmp_path
    before = pinned(str(tmp_path))
    assert len(before.partition("@")[2]) == 20
    (tmp_path / "vocabulary.txt").write_text("a")
    content.cache_clear()
    assert pinned(str(tmp_path)) != before
