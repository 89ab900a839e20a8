"""One StepSpec is all that the rest of the program must be given of a new step."""

import pytest

from kale_tasks.contract import registry
from kale_tasks.contract.registry import STEPS, StepSpec
from kale_tasks.errors import BadConfig

SPEC = StepSpec(
    "polish", "tests.steps:Polish", "polished captions", "captions", {"stage": 3},
    suite="kale_tasks.quality.suites.pairs:PairsSuite", watched=("words_mean",), asset="polished", pool="polishers",
)  # fmt: skip


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> StepSpec:
    """A step of which nothing but its specification exists."""
    monkeypatch.setitem(STEPS, SPEC.name, SPEC)  # type: ignore[arg-type]
    return SPEC


@pytest.mark.parametrize("spec", STEPS.values(), ids=str)
def test_a_class_agrees_with_its_specification(spec: StepSpec) -> None:
    step = spec.load()
    assert (step.name, step.table, dict(step.slice)) == (spec.name, spec.table, dict(spec.slice))


def test_airflow_gives_an_added_step_its_asset_and_pool(added: StepSpec) -> None:
    from airflow.sdk import DAG

    from kale_tasks.airflow.groups import step_group

    with DAG("kale_polish", schedule=None) as dag:
        step_group("polish")
    outlets = {task.task_id: [(asset.name, asset.uri) for asset in task.outlets] for task in dag.tasks}
    assert outlets["polish.check"] == [("polished", "kale://polished/")]
    assert dag.get_task("polish.work").pool == "polishers"


def test_a_step_without_an_asset_announces_nothing() -> None:
    from kale_tasks.airflow.dag_parts import step_asset

    with pytest.raises(BadConfig, match="'dense' has no asset"):
        step_asset("dense")


def test_an_unknown_step_is_refused_with_the_names_of_all(added: StepSpec) -> None:
    with pytest.raises(BadConfig, match=r"no step 'polsh'. Steps: ingest, .*, release, polish\."):
        registry.find("polsh")
