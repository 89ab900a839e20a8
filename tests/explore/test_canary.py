"""`kale canary`: another recipe on a few rows beside the captions of a key, then applied or dropped."""

from pathlib import Path

import pytest
import yaml

from kale_tasks.errors import BadConfig, Conflict
from kale_tasks.explore import canary
from kale_tasks.lake.preview import preview_names
from kale_tasks.lake.verdicts import accept
from kale_tasks.progress import Silent
from tests.captions.conftest import Opener, opened
from tests.captions.world import KEY, give, pairs, run_captions
from tests.engines.server import completion, serving

__all__ = ["opened"]

PLAIN = "A small red tower is at the left. The background is plain white."


def _brief(tmp_path: Path) -> str:
    """A recipe that publishes the description as it is."""
    demo = yaml.safe_load(Path("config/recipes/demo.yaml").read_text(encoding="utf-8"))
    brief = {**demo, "models": {"vlm": demo["models"]["vlm"]}, "passes": demo["passes"][:1], "caption": "dense"}
    brief["student"] = {**demo["student"], "lessons": [{"weight": 1, "answer": "dense"}]}
    path = tmp_path / "brief.yaml"
    path.write_text(yaml.safe_dump(brief), encoding="utf-8")
    return str(path)


def test_a_canary_is_compared_changes_nothing_and_is_applied_or_dropped(opened: Opener, tmp_path: Path) -> None:
    given = pairs(60)
    with serving(reply=lambda body: completion(PLAIN)) as server:
        lake, settings = opened("parts.part_rows=10", server=server)
        give(lake, settings, given)
        run_captions(lake, settings)
        before = {p: c.commit for t in lake.tables() for p, c in lake.partitions(t).items() if t != "runs"}
        changed = settings.with_values({"caption": {"recipe": _brief(tmp_path)}, "preview": "canary"})
        made = canary.start(lake, changed, settings, KEY, 0.4, Silent())
        assert {p: c.commit for t in lake.tables() for p, c in lake.partitions(t).items() if t != "runs"} == before
        assert (made.rows, made.present) == (24, "demo")

        looked = sorted(pair.uid for pair in given)[: made.rows]
        first = {pair.uid for pair in given if pair.uid in looked and pair.split == "stage1"}
        found = canary.compare(lake, made)
        assert (found.both, found.only_canary) == (len(first), 0) and found.only_present == 0
        assert found.figures["captions"] == [len(first), len(first)]
        assert {row["uid"] for row in found.examples} <= first

        with pytest.raises(Conflict, match="canary"):
            canary.start(lake, changed, settings, KEY, 0.4, Silent())
        assert [one.name for one in canary.canaries(lake)] == ["canary"]

        whole = canary.settings_of(made, settings)
        with pytest.raises(Conflict, match="not checked"):
            canary.apply(lake, whole, [KEY], Silent(), lambda run, sealed: None)
        done = canary.apply(
            lake, whole, [KEY], Silent(), lambda run, sealed: accept(lake.storage, sealed.seal_id, "ok")
        )
        assert done == {KEY: sum(pair.split == "stage1" for pair in given)}
        canary.drop(lake, made)
    assert {p.columns["recipe"] for p in lake.partitions("captions")} == {"demo", "brief"}
    assert preview_names(lake.catalog) == []
    with pytest.raises(BadConfig, match="canary start"):
        canary.find(lake, "canary")


def test_a_key_without_images_has_no_canary(opened: Opener) -> None:
    lake, settings = opened()
    with pytest.raises(Conflict, match="no images"):
        canary.start(lake, settings.with_values({"preview": "canary"}), settings, KEY, 0.01, Silent())
