"""Ingest of several keys in a real Airflow: one waits for files, one fails its checks, and neither holds up the others.

The keys come by a backfill through the REST API with its ten active runs.
"""

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kale_tasks.airflow.rest import AirflowRest
from kale_tasks.airflow.standalone import StandaloneAirflow, free_port
from kale_tasks.lake.keys import MARKER
from kale_tasks.lake.marks import unanswered_marks
from kale_tasks.lake.tables import Lake
from kale_tasks.settings import load
from kale_tasks.world.write import write_landing
from tests.services.server import wait_until

# An Airflow of its own takes a minute.
pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1200)]
LATE = "2026-10-31"
FIRST, BAD, LAST, WAITING = "2026-11-01", "2026-11-02", "2026-11-03", "2026-11-04"
REASON = "the source sends one-word texts on Mondays"
_RUNS = "/dags/kale_ingest/dagRuns"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """An empty lake. Two good keys have landed, and one of which almost no row is kept; of another there is no file."""
    folder = tmp_path_factory.mktemp("ingest")
    assert write_landing(folder / "landing", 3, 72, "http://127.0.0.1:9") == [FIRST, BAD, LAST]
    for path in (folder / "landing" / BAD).glob("*.*"):
        path.unlink()
    good = "https://a.example/0.jpg,A red barn beside the road to Vermont\n"
    rows = [f"https://a.example/{number}.jpg,barn\n" for number in range(1, 100)]
    (folder / "landing" / BAD / "rows.csv").write_text("".join(["url,text\n", good, *rows]))
    (folder / "landing" / BAD / MARKER).touch()
    return Lake(load(environ=environment(folder)).settings)


def environment(folder: Path) -> dict[str, str]:
    return {
        "KALE_PROFILE": "demo",
        "KALE_LANDING": str(folder / "landing"),
        "KALE_WAREHOUSE": str(folder / "warehouse"),
        "KALE_SCHEDULE__ASK": "true",
        "KALE_SCHEDULE__LANDING_WAIT_HOURS": "1",
    }


@pytest.fixture(scope="module")
def rest(lake: Lake) -> Iterator[AirflowRest]:
    """An Airflow in which the backfill has been asked for."""
    folder = Path(lake.settings.warehouse).parent
    airflow = StandaloneAirflow(folder / "airflow", environment(folder), free_port())
    try:
        airflow.start()
        airflow.rest.send("PATCH", "/dags/kale_ingest", {"is_paused": False})
        body = {"dag_id": "kale_ingest", "from_date": f"{FIRST}T00:00:00Z", "to_date": f"{WAITING}T00:00:00Z"}
        airflow.rest.send("POST", "/backfills", body)
        yield airflow.rest
    finally:
        airflow.stop()


def runs(rest: AirflowRest) -> dict[str, dict[str, Any]]:
    return {run["partition_key"]: run for run in rest.get(_RUNS)["dag_runs"]}


def state(rest: AirflowRest, key: str, task: str) -> str:
    return str(rest.get(f"{_RUNS}/{runs(rest)[key]['dag_run_id']}/taskInstances/{task}")["state"])


def test_keys_that_wait_and_keys_that_fail_hold_up_no_other(rest: AirflowRest, lake: Lake) -> None:
    def done() -> bool:
        found = runs(rest)
        return [found.get(key, {}).get("state") for key in (FIRST, LAST)] == ["success"] * 2

    wait_until(done, "the good keys", 600, pause=1)
    assert state(rest, WAITING, "landing") == "deferred"
    wait_until(lambda: state(rest, BAD, "ingest") == "awaiting_input", "the question", 300, pause=1)
    assert set(lake.keys("pairs")) == {FIRST, LAST}


def test_the_log_of_a_waiting_key_says_what_it_waits_for(rest: AirflowRest) -> None:
    run = runs(rest)[WAITING]["dag_run_id"]
    log = str(rest.get(f"{_RUNS}/{run}/taskInstances/landing/logs/1?full_content=true"))
    assert f"No landing files for {WAITING} yet" in log and "Looking every 2 s for 1 hours" in log


def test_a_person_who_accepts_the_failed_key_lets_it_go_on(rest: AirflowRest, lake: Lake) -> None:
    (question,) = rest.get(f"{_RUNS}/~/hitlDetails?response_received=false")["hitl_details"]
    assert "saw 1.0 %" in question["body"] and f"/kale/report/{BAD}" in question["body"]
    fields = {name: field["value"] for name, field in question["params"].items()} | {"reason": REASON}
    path = f"{_RUNS}/{runs(rest)[BAD]['dag_run_id']}/taskInstances/ingest/-1/hitlDetails"
    rest.send("PATCH", path, {"chosen_options": ["Accept"], "params_input": fields})
    wait_until(lambda: runs(rest)[BAD]["state"] == "success", "the accepted key", 300, pause=1)
    committed = lake.committed("pairs", BAD)
    assert committed and (committed.rows_in, committed.rows) == (100, 1)


def test_the_events_of_the_keys_say_what_was_committed(rest: AirflowRest, lake: Lake) -> None:
    events = {e["partition_key"]: e["extra"] for e in rest.get("/assets/events")["asset_events"]}
    assert set(events) == {FIRST, BAD, LAST}
    for key, extra in events.items():
        committed = lake.committed("pairs", key)
        assert committed and (extra["rows"], extra["fingerprint"]) == (committed.rows, committed.fingerprint)
    assert events[BAD]["verdict"] == "accepted" and events[FIRST]["verdict"] in ("passed", "warned")


def test_maintenance_ingests_a_key_again_after_an_earlier_one_came_late(rest: AirflowRest, lake: Lake) -> None:
    before = lake.arrow("pairs", LAST, ["url", "alt_text"]).to_pylist()
    late = Path(lake.settings.landing, LATE)
    late.mkdir()
    with open(late / "rows.csv", "w", newline="") as out:
        csv.writer(out).writerows([("url", "text"), *((row["url"], row["alt_text"]) for row in before[:2])])
    (late / MARKER).touch()
    rest.send("POST", _RUNS, {"logical_date": None, "partition_key": LATE})
    wait_until(lambda: bool(unanswered_marks(lake, "pairs")), "the late key", 300)
    for path in Path(lake.settings.warehouse, "pairs", f"key={LAST}").rglob("*"):
        os.utime(path, (1e9, 1e9))  # nobody works on the key
    rest.send("PATCH", "/dags/kale_maintenance", {"is_paused": False})
    rest.send("POST", "/dags/kale_maintenance/dagRuns", {"logical_date": None})
    wait_until(lambda: not unanswered_marks(lake, "pairs"), "the key to be ingested again", 300)
    assert lake.arrow("pairs", LAST).num_rows == len(before) - 2
    started = [run for run in rest.get(_RUNS)["dag_runs"] if run["run_type"] == "operator_triggered"]
    assert [run["conf"]["key"] for run in started] == [LAST]
