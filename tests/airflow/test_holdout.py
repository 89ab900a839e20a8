"""The Dag that trains a student captions the holdout of the keys that `kale pending` lists, and nothing twice."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kale_tasks.airflow import command_operator
from kale_tasks.captions.steps import pass_specs
from kale_tasks.contract.registry import step_spec
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import load
from tests.captions.world import KEY, give, pairs
from tests.dags.test_dags import DAGS


@pytest.fixture
def dag() -> Any:
    """The Dag, loaded as Airflow loads it."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(DAGS / "kale_distill.py"), bundle_path=DAGS).dags["kale_distill"]


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake with captions of stage 1 by the tiny models."""
    environment = {
        "KALE_WAREHOUSE": f"{tmp_path}/lake", "KALE_PROFILE": "demo", "KALE_CAPTION__DEVICE": "cpu",
        "KALE_CAPTION__RECIPE": "demo", "KALE_LOG": "plain",
    }  # fmt: skip
    monkeypatch.setattr(command_operator, "KaleHook", lambda name: SimpleNamespace(environment=lambda: environment))
    settings = load(environ=environment).settings
    made = Lake(settings)
    give(made, settings, pairs(40))
    for spec in [*pass_specs("demo"), step_spec("fuse", "demo")]:
        execute(Run(spec.load(), made, settings, KEY))
    return made


def run(dag: Any, name: str, **mapped: Any) -> Any:
    """Run a task of the Dag; of a mapped one, the one with these arguments."""
    task = dag.get_task(name)
    operator = (task.unmap(mapped) if mapped else task).prepare_for_execution()
    operator.recipe, operator.overrides = "demo", {"caption.recipe": "demo"}
    operator.render_template_fields({"params": {}})
    ti = SimpleNamespace(dag_id=dag.dag_id, run_id="manual__1", task_id=name, map_index=0, try_number=1)
    return operator.execute({"ti": ti})


@pytest.mark.nightly
def test_keys_that_lack_captions_of_the_holdout_get_them_once(dag: Any, lake: Lake) -> None:
    assert run(dag, "lacking") == [KEY]
    first, second = (run(dag, "holdout", key=KEY) for _ in range(2))
    assert first["rows"] == second["rows"] == sum(pair.split == "holdout" for pair in pairs(40))
    assert first["fingerprint"] == second["fingerprint"] and first["recipe"] == "demo@again"
    assert run(dag, "lacking") == []
