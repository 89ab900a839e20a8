"""Two versions of this package work on one lake during a rollout: neither adds parts to a plan of the other."""

from pathlib import Path

import pytest

from kale_tasks.errors import Conflict
from kale_tasks.lake.tables import Lake
from kale_tasks.runner import run as runs
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import commit, execute, plan, reopen, work
from kale_tasks.settings import Settings
from tests.lakes import lake_of, lake_sets
from tests.steps import Numbers

KEY = "2026-11-01"


def texts(lake: Lake) -> list[str]:
    return sorted(lake.arrow("pairs", KEY)["alt_text"].to_pylist())


def opened(lake: Lake, settings: Settings, fingerprint: str) -> Run:
    return reopen(Numbers(120), lake, settings, (KEY, fingerprint, None))[0]


def test_workers_of_two_versions_refuse_each_others_plans_and_the_rows_are_those_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, settings = lake_of(lake_sets("folder", tmp_path))
    monkeypatch.setattr(runs, "__version__", "0.1.0")
    old = plan(Run(Numbers(120), lake, settings, KEY))
    assert len(old.chunks) == 3
    work(opened(lake, settings, old.fingerprint), old.chunks[0])

    monkeypatch.setattr(runs, "__version__", "0.2.0")
    with pytest.raises(Conflict, match="another version here"):
        opened(lake, settings, old.fingerprint)
    run = Run(Numbers(120), lake, settings, KEY)
    new = plan(run)
    assert new.fingerprint == old.fingerprint, "the rows are the same: finished parts count"
    assert work(run, new.chunks[0]) == [] and work(run, new.chunks[1])

    monkeypatch.setattr(runs, "__version__", "0.1.0")
    with pytest.raises(Conflict, match="another version here"):
        opened(lake, settings, old.fingerprint)  # a worker that was not replaced yet

    monkeypatch.setattr(runs, "__version__", "0.2.0")
    work(run, new.chunks[2])
    commit(run, new)
    (tmp_path / "alone").mkdir()
    alone, own = lake_of(lake_sets("folder", tmp_path / "alone"))
    execute(Run(Numbers(120), alone, own, KEY))
    assert texts(lake) == texts(alone)
