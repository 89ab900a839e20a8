"""A design names everything before the first result, and is not changed after it."""

from pathlib import Path
from typing import Any

import pytest

from kale_tasks.errors import BadConfig
from kale_tasks.evaluate.design import design_path, load_design, register
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.resources import resource
from tests.evaluate.small import SMALL, written
from tests.kale import kale

SHIPPED = sorted(path.stem for path in resource("config/evaluations").glob("*.yaml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_design_is_valid_and_has_a_price(name: str) -> None:
    price = load_design(name).price()
    assert price["runs"] >= 4
    assert price["hours"] > 0


def test_the_first_result_fixes_the_design(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    register(storage, "evaluations/a", load_design(written(tmp_path)))
    register(storage, "evaluations/a", load_design(written(tmp_path)))
    moved: dict[str, Any] = {**SMALL["primary"], "questions": ["known"]}
    with pytest.raises(BadConfig, match=r"primary\.questions"):
        register(storage, "evaluations/a", load_design(written(tmp_path, primary=moved)))
    register(storage, "evaluations/b", load_design(written(tmp_path, primary=moved)))


@pytest.mark.parametrize(
    "change",
    [{"alpha": 0.1}, {"seeds": [1, 2, 3]}, {"pretrain": {**SMALL["pretrain"], "rate": 1e-3}},
     {"data": {**SMALL["data"], "seed": 6}}, {"arms": {**SMALL["arms"], "fused": {"text": "fused", "lost": 0.1}}}],
)  # fmt: skip
def test_whatever_can_change_a_result_changes_the_hash(tmp_path: Path, change: dict[str, Any]) -> None:
    assert load_design(written(tmp_path, **change)).hash != load_design(written(tmp_path)).hash


def test_where_it_runs_changes_no_hash(tmp_path: Path) -> None:
    model = {**SMALL["model"], "threads": 4, "device": "auto", "checkpoint_steps": 1, "keep": True}
    assert load_design(written(tmp_path, model=model)).hash == load_design(written(tmp_path)).hash


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"primary": {**SMALL["primary"], "baseline": "dens"}}, "dens"),
        ({"primary": {**SMALL["primary"], "test": "equivalent"}}, "margin"),
        ({"primary": {**SMALL["primary"], "test": "feels better"}}, "primary.test"),
        ({"seeds": [1, 1]}, "differ"),
        ({"seeds": []}, "seeds"),
        ({"outcome": {}}, "outcome"),
        ({"arms": {"dense": {"text": "dense"}}}, "arms"),
    ],
)
def test_a_design_that_says_too_little_is_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(BadConfig, match=says):
        load_design(written(tmp_path, **change))


def test_an_unknown_design_names_the_known_ones() -> None:
    with pytest.raises(BadConfig, match="sample"):
        design_path("another")


def test_the_cost_is_stated_before_the_start(tmp_path: Path) -> None:
    answer = kale("evaluate", "downstream", "scale", "--cost", "--json", sets=[f"warehouse={tmp_path}/lake"])
    price = answer.json
    assert (price["runs"], price["hours"] > 100, price["dollars"] > 250) == (27, True, True)
    assert not (tmp_path / "lake").exists()
