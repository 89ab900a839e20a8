"""Models are found by name and pinned to their content."""

from pathlib import Path

import pytest

from kale_tasks.errors import BadConfig, Transient
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


@pytest.mark.parametrize(
    ("error", "kind"),
    [("RepositoryNotFoundError", BadConfig), ("GatedRepoError", BadConfig), ("HfHubHTTPError", Transient)],
)
def test_what_the_hub_does_not_have_is_a_wrong_setting_and_the_rest_may_heal(
    monkeypatch: pytest.MonkeyPatch, error: str, kind: type[Exception]
) -> None:
    from huggingface_hub import errors

    def fail(*given: object, **more: object) -> None:
        failure = getattr(errors, error)
        raise failure.__new__(failure, "refused")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(kind, match=r"org/model@0{40}"):
        locate(f"org/model@{'0' * 40}")
