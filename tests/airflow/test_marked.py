"""The Dag of maintenance ingests marked keys again: those that `kale pending` lists in a real lake, a run for each."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.standard.operators.trigger_dagrun import DagIsPaused
from airflow.sdk.exceptions import DagRunTriggerException

from kale_tasks.airflow import command_operator
from kale_tasks.lake.marks import put_mark
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.tables import Lake
from tests.dags.test_dags import DAGS
from tests.quality.world import World, commit, open_world

KEYS = ("2026-11-02", "2026-11-03", "2026-11-04", "2026-11-05")
RUN = "scheduled__2026-11-06T03:30:00+00:00"


@pytest.fixture(scope="module")
def maintenance() -> Any:
    """The Dag, loaded as Airflow loads it."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(DAGS / "kale_maintenance.py"), bundle_path=DAGS).dags["kale_maintenance"]


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake whose keys are marked; on the last of them somebody works."""
    made = open_world(tmp_path)
    for key in KEYS:
        commit(made, World(key), "ingest")
    for key in reversed(KEYS):
        put_mark(made.storage, Partition("pairs", key), "after-2026-11-01", "2026-11-01 keeps other entries")
    for key in KEYS[:-1]:
        age(made, key)
    environment = {"KALE_WAREHOUSE": made.settings.warehouse, "KALE_LANDING": made.settings.landing}
    monkeypatch.setattr(command_operator, "KaleHook", lambda name: SimpleNamespace(environment=lambda: environment))
    return made


def age(lake: Lake, key: str) -> None:
    """Make the files of the pairs of a key as old as those of another day."""
    for path in Path(lake.settings.warehouse, "pairs", f"key={key}").rglob("*"):
        os.utime(path, (1e9, 1e9))


def listed(dag: Any, most: int | None = None) -> list[Any]:
    """The forms of the runs that the Dag starts."""
    operator = dag.get_task("marked").prepare_for_execution()
    operator.most = most or operator.most
    operator.render_template_fields({"params": {}})
    ti = SimpleNamespace(dag_id=dag.dag_id, run_id=RUN, task_id="marked", map_index=-1, try_number=1)
    ((form,),) = [dag.get_task("ingest_again").expand_input.value["conf"].callables]
    return [form(key) for key in operator.execute({"ti": ti})]


def started(dag: Any, form: dict[str, str], paused: bool = False) -> DagRunTriggerException:
    """What a task that is mapped over the forms asks of Airflow."""
    task = dag.get_task("ingest_again").unmap({"conf": form})
    ti = SimpleNamespace(get_dag=lambda name: SimpleNamespace(is_paused=paused))
    context = {"task": task, "run_id": RUN, "ti": ti}
    task.render_template_fields(context)
    with pytest.raises(DagRunTriggerException) as asked:
        task.execute(context)
    return asked.value


def test_ingest_is_started_for_marked_keys_in_order_and_not_for_those_in_work(maintenance: Any, lake: Lake) -> None:
    assert listed(maintenance) == [{"key": key} for key in KEYS[:-1]]
    assert listed(maintenance, most=2) == [{"key": key} for key in KEYS[:2]]
    commit(lake, World(KEYS[0]), "ingest")
    age(lake, KEYS[0])
    assert listed(maintenance) == [{"key": key} for key in KEYS[1:-1]]


def test_one_run_is_started_for_a_key_however_often_its_task_is_tried(maintenance: Any) -> None:
    first, again, other = (started(maintenance, {"key": key}) for key in (KEYS[0], KEYS[0], KEYS[1]))
    assert (first.trigger_dag_id, first.conf, first.skip_when_already_exists) == ("kale_ingest", {"key": KEYS[0]}, True)
    assert first.dag_run_id == again.dag_run_id != other.dag_run_id
    assert KEYS[0] in first.dag_run_id and first.logical_date < other.logical_date  # by which a pool is ordered
    assert maintenance.get_task("ingest_again").max_active_tis_per_dagrun == 1


def test_no_runs_pile_up_while_ingest_is_paused(maintenance: Any) -> None:
    with pytest.raises(DagIsPaused, match="kale_ingest is paused"):
        started(maintenance, {"key": KEYS[0]}, paused=True)
