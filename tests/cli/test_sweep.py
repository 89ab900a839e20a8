"""`kale maintain` deletes old scratch of this machine and, if asked, Airflow's old logs and records."""

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.kale import kale

_DAY = 86_400


def aged(path: Path, days: float) -> Path:
    """Write a file, and make it and its folder this old."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("left behind")
    for one in (path, path.parent):
        os.utime(one, (time.time() - days * _DAY,) * 2)
    return path


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "tmp").mkdir()
    of = [f"warehouse={tmp_path}/lake"]
    assert kale("init", sets=of).code == 0
    return of


def test_scratch_that_nobody_has_touched_for_days_goes_and_nothing_else(tmp_path: Path, sets: list[str]) -> None:
    old = [
        aged(tmp_path / "tmp/kale-scratch-ingest-1/spill", 9),
        aged(tmp_path / "cache/kale/students" / ("a" * 16) / "w", 9),
    ]
    young = aged(tmp_path / "tmp/kale-scratch-ingest-2/spill", 9)
    (young.parent / "deeper").mkdir()
    (young.parent / "deeper" / "now").write_text("written by a running task")
    os.utime(young.parent, (0, 0))
    others = [aged(tmp_path / "tmp" / name / "file", 9) for name in ("other-1", "kale-data", "kale-quickstart")]
    assert kale("maintain", "--dry-run", "--json", sets=sets).json["scratch"] == 2
    assert kale("maintain", "--json", sets=sets).json["scratch"] == 2
    assert [path.parent.exists() for path in old] == [False, False]
    assert young.exists() and all(one.exists() for one in others), "people have lakes of these names"
    assert kale("maintain", "--json", sets=[*sets, "maintenance.scratch_days=90"]).json["scratch"] == 0


@pytest.mark.nightly
@pytest.mark.slow  # Airflow makes a database
def test_old_logs_and_records_of_airflow_go_if_asked(
    tmp_path: Path, sets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "airflow"
    monkeypatch.setenv("AIRFLOW_HOME", str(home))
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"sqlite:///{home}/airflow.db")
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(home / "logs"))
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True)
    old, young = aged(home / "logs/dag_id=kale_ingest/a.log", 100), aged(home / "logs/dag_id=kale_ingest/b.log", 50)
    with sqlite3.connect(home / "airflow.db") as database:
        for event, days in (("old", 100), ("young", 50)):
            database.execute(
                "INSERT INTO log (dttm, event, owner) VALUES (datetime('now', ?), ?, 'kale')", (f"-{days} days", event)
            )

    def events() -> set[str]:
        with sqlite3.connect(home / "airflow.db") as database:
            return {event for (event,) in database.execute("SELECT event FROM log WHERE owner = 'kale'")}

    assert kale("maintain", "--json", sets=sets).json["logs"] == 0
    assert (old.exists(), events()) == (True, {"old", "young"})
    assert kale("maintain", "--airflow", "--json", sets=sets).json["logs"] == 1
    assert (old.exists(), young.exists(), events()) == (False, True, {"young"})


def test_airflow_that_cannot_be_reached_is_a_wrong_setting_and_says_where_to_run(
    sets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    done = kale("maintain", "--airflow", sets=sets)
    assert (done.code, "the machine of the scheduler" in done.complaint) == (2, True)
