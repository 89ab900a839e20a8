"""The pages in a running Airflow, on a lake as the demo makes it: releases, blocked keys, and Dags that really run."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from kale_tasks.airflow.standalone import StandaloneAirflow, free_port
from kale_tasks.captions.steps import find_spec
from kale_tasks.errors import BadData
from kale_tasks.lake.keys import MARKER
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.verdicts import blocked_runs
from kale_tasks.quality.report import check_and_report
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import load
from tests.quality.world import STUDENT, commit_student
from tests.services.server import wait_until
from tests.ui.conftest import Airflow
from tests.ui.sample import fill
from tests.ui.visits import problems, visit

# An Airflow of its own, tiny models and seven runs of Dags take minutes.
pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1800)]
BLOCKED, REFUSED = "2026-11-09", "2026-11-08"  # the run of the first is accepted, that of the other never
_DAGS = ("ingest", "quality_report", "takedown", "release", "canary")
_USERS = {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer"}


@dataclass(frozen=True)
class Stage:
    """A running Airflow, and the lake that its pages show."""

    standalone: StandaloneAirflow
    airflow: Airflow
    lake: Lake
    keys: list[str]

    def paths(self) -> list[str]:
        """Every page, with rows of the lake; the last leads to none."""
        key, uid = self.keys[-1], self.uid(0)
        one, other = sorted({*self.lake.arrow("releases", columns=["version"])["version"].to_pylist()})[:2]
        pages = [
            "/", f"/keys/{key}?other={self.keys[0]}", f"/keys/{REFUSED}", f"/captions?key={key}",
            f"/captions?key={key}&sort=longest", f"/captions?key={key}&q=zebra", f"/rows/{key}/{uid}",
            f"/votes?key={key}", "/quality", "/models", "/releases", f"/releases/{one}?old={other}", "/canary",
            "/try", f"/try?key={key}&uid={uid}", "/reports", f"/report/{key}", f"/report/{REFUSED}", "/keys/2031-01-0x",
        ]  # fmt: skip
        return [f"/kale{path}" for path in pages]

    def uid(self, number: int) -> str:
        """The uid of a caption of the last key."""
        return str(sorted(self.lake.arrow("captions", self.keys[-1], ["uid"])["uid"].to_pylist())[number])

    def ended(self, dag: str) -> dict[str, Any]:
        """Wait until the latest run of a Dag has ended well, and return it."""
        path = f"/dags/kale_{dag}/dagRuns?order_by=-run_after&limit=1"

        def state() -> str:
            return str(self.standalone.rest.get(path)["dag_runs"][0]["state"])

        wait_until(lambda: state() in ("success", "failed"), f"the end of {dag}", 400)
        run: dict[str, Any] = self.standalone.rest.get(path)["dag_runs"][0]
        assert run["state"] == "success", self.logs(dag, run["dag_run_id"])
        return run

    def logs(self, dag: str, run: str) -> str:
        """The ends of the logs of the tasks of a run."""
        path, rest = f"/dags/kale_{dag}/dagRuns/{run}/taskInstances", self.standalone.rest
        tries = [(one["task_id"], one["state"], one["try_number"]) for one in rest.get(path)["task_instances"]]
        return "".join(f"{name} {state}: {rest.get(f'{path}/{name}/logs/{n}')}"[-3000:] for name, state, n in tries)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A lake of three keys with two releases, and two keys of which almost no row is kept, behind a real Airflow."""
    folder = tmp_path_factory.mktemp("pages")
    environment, keys = fill(folder, keys=3, pairs=40)
    settings = load(environ=environment).settings
    lake = Lake(settings)
    commit_student(lake)
    for key in (BLOCKED, REFUSED):
        _block(folder, lake, key)
    airflow = StandaloneAirflow(folder / "airflow", {**environment, **_USERS}, free_port())
    try:
        airflow.start()
        for dag in _DAGS:
            airflow.rest.send("PATCH", f"/dags/kale_{dag}", {"is_paused": False})
        passwords = json.loads((folder / "airflow/passwords.json").read_text())
        yield Stage(airflow, Airflow(airflow.url, passwords), lake, keys)
    finally:
        airflow.stop()


def _block(folder: Path, lake: Lake, key: str) -> None:
    """Land a key of one-word texts, and let its run fail its checks."""
    landing = folder / "landing" / key
    landing.mkdir()
    rows = [f"https://{key}.example/{number}.jpg,barn\n" for number in range(1, 100)]
    good = f"https://{key}.example/0.jpg,A red barn beside the road to Vermont\n"
    (landing / "rows.csv").write_text("".join(["url,text\n", good, *rows]))
    (landing / MARKER).touch()
    run = Run(find_spec("ingest", lake.settings).load(), lake, lake.settings, key)
    with pytest.raises(BadData):
        execute(run, lambda sealed: check_and_report(lake, lake.settings, sealed))


@pytest.mark.parametrize("width", [1440, 400])
@pytest.mark.parametrize("user", ["admin", "viewer"])
def test_every_page_is_whole_quiet_and_without_barriers(user: str, width: int, stage: Stage, chromium: Browser) -> None:
    with visit(chromium, stage.airflow, user, width) as (page, wrong):
        found = {path: problems(page, stage.airflow, path, wrong) for path in stage.paths()}
    assert {path: one for path, one in found.items() if one} == {}


def test_a_viewer_is_offered_no_action_and_nobody_sees_a_page(stage: Stage, chromium: Browser) -> None:
    with visit(chromium, stage.airflow, "viewer") as (page, _):
        for path in stage.paths():
            page.goto(f"{stage.airflow.url}{path}")
            assert page.locator("form[method=post] button").count() == 0, path
    with stage.airflow.client(None) as client:
        assert {client.get(path).status_code for path in stage.paths()} == {401}


@pytest.mark.parametrize(("user", "code"), [("viewer", 403), (None, 401)])
def test_who_has_no_right_is_refused_every_action(user: str | None, code: int, stage: Stage) -> None:
    key, uid = stage.keys[-1], stage.uid(1)
    (blocked,) = (run for run in blocked_runs(stage.lake).values() if run.key == REFUSED)
    row, judged = f"/rows/{key}/{uid}", {"side": "demo/1", "of": "0"}
    vote = {"key": key, "pair": "a~b", "uid": uid, "choice": "tie", "of": "0"}
    actions: dict[str, dict[str, Any]] = {
        f"/keys/{key}/start": {"what": "ingest"},
        f"/keys/{REFUSED}/accept": {"fingerprint": blocked.fingerprint, "why": "x"},
        f"{row}/verdicts": {**judged, "verdict": ["right"]}, f"{row}/edit": {**judged, "text": "x"},
        f"{row}/report": {"why": "x"}, f"{row}/takedown": {}, "/votes": vote,
        f"/models/{STUDENT}/promote": {"why": "x"}, "/models/rollback": {"recipe": "kale", "why": "x"},
        "/releases/start": {}, "/canary/start": {"key": key, "recipe": "demo"},
        "/canary/end": {"name": "canary", "action": "drop"}, "/try": {"recipe": "demo", "key": key, "uid": uid},
    }  # fmt: skip
    with stage.airflow.client(user) as client:
        codes = {path: client.post(f"/kale{path}", data=form).status_code for path, form in actions.items()}
    assert set(codes.values()) == {code}, codes


def test_a_blocked_run_is_accepted_and_ingested_by_clicks(stage: Stage, chromium: Browser) -> None:
    with visit(chromium, stage.airflow, "admin") as (page, wrong):
        page.goto(f"{stage.airflow.url}/kale/")
        page.get_by_role("link", name=f"{BLOCKED}: ingest is blocked").click()
        page.get_by_label("Why they are good enough").fill("one-word texts on Mondays")
        _press(page, "Accept these rows", "Accepted.")
        _press(page, "Ingest", "Airflow has started")
        assert stage.ended("ingest")["partition_key"] == BLOCKED
        page.reload()
        page.get_by_text("Accepted on").wait_for()
        _press(page, "Make the report", "Airflow has started")
        stage.ended("quality_report")
        assert wrong == []
    committed = stage.lake.committed("pairs", BLOCKED)
    assert committed and committed.rows == 1


def test_a_student_is_promoted_and_a_release_asks_for_approval(stage: Stage, chromium: Browser) -> None:
    with visit(chromium, stage.airflow, "admin") as (page, wrong):
        page.goto(f"{stage.airflow.url}/kale/models")
        page.get_by_text("put this student to use").click()
        page.get_by_label("Why").first.fill("it describes better")
        _press(page, "Promote", f"Student {STUDENT} is in use")
        page.goto(f"{stage.airflow.url}/kale/releases")
        _press(page, "Build it", "Airflow has started")
        assert wrong == []


def test_a_canary_is_started_compared_and_dropped_by_clicks(stage: Stage, chromium: Browser) -> None:
    with visit(chromium, stage.airflow, "admin") as (page, wrong):
        page.goto(f"{stage.airflow.url}/kale/canary")
        page.get_by_label("Share of the images").fill("0.2")
        _press(page, "Start it", "Airflow has started")
        stage.ended("canary")
        page.goto(f"{stage.airflow.url}/kale/canary")
        page.get_by_text("images have both captions").wait_for()
        assert problems(page, stage.airflow, "/kale/canary", wrong) == []
        _press(page, "Drop it", "Airflow has started")
        stage.ended("canary")
        page.goto(f"{stage.airflow.url}/kale/canary")
        page.get_by_text("No canary is at hand").wait_for()
        assert wrong == []


def test_a_recipe_is_tried_on_a_row(stage: Stage, chromium: Browser) -> None:
    with visit(chromium, stage.airflow, "admin") as (page, wrong):
        page.set_default_timeout(180_000)
        page.goto(f"{stage.airflow.url}/kale/try?key={stage.keys[-1]}&uid={stage.uid(2)}")
        page.get_by_role("button", name="Try it").click()
        page.get_by_role("heading", name="What each pass made of it").wait_for()
        assert wrong == []


def test_a_row_is_reported_and_taken_down_by_clicks(stage: Stage, chromium: Browser) -> None:
    path = f"{stage.airflow.url}/kale/rows/{stage.keys[-1]}/{stage.uid(3)}"
    with visit(chromium, stage.airflow, "admin") as (page, wrong):
        page.goto(path)
        page.get_by_label("What is wrong with it").fill("A person can be seen.")
        _press(page, "Report this row", "reported")
        page.get_by_text("take this row down").click()
        _press(page, "Take it down", "Airflow has started")
        stage.ended("takedown")
        assert wrong == []
        answer = page.goto(path)
        assert answer and answer.status == 404


def _press(page: Page, button: str, said: str) -> None:
    page.get_by_role("button", name=button, exact=True).click()
    page.get_by_role("status").get_by_text(said).wait_for()
