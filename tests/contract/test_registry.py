"""One StepSpec is all that the rest of the program must be given of a new step."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from kale_tasks.contract import registry
from kale_tasks.contract.registry import STEPS, StepSpec
from kale_tasks.errors import BadConfig
from kale_tasks.lake.keys import ALL_KEYS
from kale_tasks.lake.tables import Committed
from tests.kale import kale
from tests.lakes import lake_sets
from tests.steps import Numbers


class Polish(Numbers):
    """A step that another package might add."""

    name, table = "polish", "captions"
    slice: ClassVar[Mapping[str, Any]] = {"stage": 3}


SPEC = StepSpec(
    "polish", "tests.contract.test_registry:Polish", "polished captions", "captions", {"stage": 3},
    suite="kale_tasks.quality.suites.pairs:PairsSuite", watched=("words_mean",), asset="polished", pool="polishers",
)  # fmt: skip


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> StepSpec:
    """The step is added by its specification alone."""
    monkeypatch.setitem(STEPS, SPEC.name, SPEC)  # type: ignore[arg-type]
    return SPEC


@pytest.mark.parametrize("spec", STEPS.values(), ids=str)
def test_a_class_agrees_with_its_specification(spec: StepSpec) -> None:
    spec = spec.of_recipe("demo")
    step = spec.load()
    assert (step.name, step.table, dict(step.slice)) == (spec.name, spec.table, dict(spec.slice))


def test_airflow_gives_an_added_step_its_asset_and_pool(added: StepSpec) -> None:
    from airflow.sdk import DAG

    from kale_tasks.airflow.groups import step_group

    with DAG("kale_polish", schedule=None) as dag:
        step_group("polish")
    outlets = {task.task_id: [(asset.name, asset.uri) for asset in task.outlets] for task in dag.tasks}
    assert outlets["polish.commit"] == [("kale/polished", "kale://kale/polished")]
    assert dag.get_task("polish.work").pool == "polishers"


def test_a_step_without_an_asset_announces_nothing() -> None:
    from kale_tasks.airflow.dag_parts import step_asset

    with pytest.raises(BadConfig, match="'release' has no asset"):
        step_asset("release")


def test_an_unknown_step_is_refused_with_the_names_of_all(added: StepSpec) -> None:
    with pytest.raises(BadConfig, match=r"no step 'polsh'. Steps: ingest, .*, release, polish\."):
        registry.find("polsh")


def test_checks_of_an_added_step_are_found_by_its_specification(added: StepSpec) -> None:
    from kale_tasks.quality.suite import find_suite

    assert find_suite("polish").columns == find_suite("ingest").columns
    with pytest.raises(BadConfig, match=r"no checks for 'distill'. Steps with checks: .*, polish\."):
        find_suite("distill")


def test_status_shows_an_added_step_and_a_dash_where_a_step_does_not_apply(
    added: StepSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(STEPS, "ingest", replace(STEPS["ingest"], reference="tests.steps:Numbers", suite=None))  # type: ignore[arg-type]
    sets = lake_sets("folder", tmp_path)
    assert kale("run", "ingest", "--key", "2026-11-01", sets=sets).code == 0
    assert kale("run", "ingest", "--key", ALL_KEYS, sets=sets).code == 0
    cells = {(row["key"], row["step"]): row["state"] for row in kale("status", "--json", sets=sets).json}
    assert cells["2026-11-01", "polish"] == cells[ALL_KEYS, "release"] == "missing"
    assert ("2026-11-01", "release") not in cells and (ALL_KEYS, "polish") not in cells
    assert cells[ALL_KEYS, "ingest"] == "committed"  # rows that exist are shown in any case
    shown = kale("status", sets=sets).out
    assert "polish" in shown and "-" in {cell.strip() for cell in shown.split("│")}


@pytest.mark.parametrize(("command", "steps"), [("run", "release, polish;"), ("check", "student, polish;")])
def test_help_names_an_added_step(command: str, steps: str) -> None:
    code = (
        "from dataclasses import replace; from kale_tasks.contract.registry import STEPS;"
        "STEPS['polish'] = replace(STEPS['student'], name='polish'); from kale_tasks.cli.app import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code, command, "--help"], capture_output=True, text=True, check=False)
    assert steps in " ".join(done.stdout.replace("│", " ").split()), done.stderr


def test_a_takedown_rewrites_the_rows_of_an_added_step(added: StepSpec, tmp_path: Path) -> None:
    from kale_tasks.takedown.sweep import rewritten_steps
    from tests.lakes import lake_of

    lake, _ = lake_of([f"warehouse={tmp_path}"])
    assert [step.name for step in rewritten_steps(lake)] == ["ingest", "images", "polish"]


def test_a_report_titles_an_added_step(added: StepSpec) -> None:
    from kale_tasks.quality.committed import Found
    from kale_tasks.quality.report import funnel

    committed = Committed("f", "c", rows=8, parts=1, snapshot_id=1, at="", rows_in=9)
    found = [Found(spec, "k", committed, None) for spec in (STEPS["ingest"], STEPS["images"], added)]
    assert funnel(found) == {"landing rows": 9, "pairs": 8, "images tried": 8, "polished captions": 8}
