"""The pages in a running Airflow, on a lake as the demo makes it: releases, blocked keys, and Dags that really run."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from kale_tasks.explore import canary
from kale_tasks.lake import reviews
from kale_tasks.lake.verdicts import blocked_runs
from kale_tasks.models import students
from tests.e2e.stage import BLOCKED, OTHER_STUDENT, REFUSED, Stage, open_stage
from tests.quality.world import STUDENT
from tests.ui.visits import problems, visit

# An Airflow of its own, tiny models and nine runs of Dags take minutes.
pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A running Airflow with that lake."""
    with open_stage(tmp_path_factory.mktemp("pages")) as made:
        yield made


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
    with chromium.new_context() as nobody:
        page = nobody.new_page()
        for path in stage.paths():
            page.goto(f"{stage.airflow.url}{path}")
            page.locator("input[name=password]").wait_for()


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


def test_students_are_promoted_and_rolled_back_by_clicks(stage: Stage, chromium: Browser) -> None:
    with visit(chromium, stage.airflow, "admin") as (page, wrong):
        page.goto(f"{stage.airflow.url}/kale/models")
        for version in (STUDENT, OTHER_STUDENT):
            section = page.locator(f"section[id='{version}']")
            section.get_by_text("put this student to use").click()
            section.get_by_label("Why").fill("it describes better")
            section.get_by_role("button", name="Promote").click()
            _said(page, f"Student {version} is in use")
            assert stage.audited("promote") == {"student": version, "why": "it describes better", "refused": False}
        history = page.locator("section", has=page.get_by_role("heading", name="Promotions of kale"))
        history.get_by_label("Why").fill("it invents colours")
        history.get_by_role("button", name="Roll back to the student before").click()
        _said(page, f"Student {STUDENT} is in use again")
        assert history.get_by_text("rolled back").count() == 1
        assert wrong == []
    assert stage.audited("rollback") == {"recipe": "kale", "student": STUDENT, "why": "it invents colours"}
    in_use = students.promoted(stage.lake, "kale")
    assert in_use and (in_use.version, in_use.back) == (STUDENT, True)


def test_a_release_is_started_by_a_click(stage: Stage, chromium: Browser) -> None:
    with visit(chromium, stage.airflow, "admin") as (page, wrong):
        page.goto(f"{stage.airflow.url}/kale/releases")
        _press(page, "Build it", "Airflow has started")
        assert wrong == []
    assert stage.audited("start")["dag"] == "release"


def test_a_caption_is_edited_by_clicks(stage: Stage, chromium: Browser) -> None:
    key, uid, text = stage.keys[-1], stage.uid(4), "A lighthouse, painted red and white, above a calm sea."
    with visit(chromium, stage.airflow, "admin") as (page, wrong):
        page.goto(f"{stage.airflow.url}/kale/rows/{key}/{uid}")
        page.get_by_text("write it as it should be").first.click()
        page.locator("textarea[name=text]").first.fill(text)
        page.get_by_role("button", name="Store the text").first.click()
        _said(page, "Stored.")
        page.get_by_role("cell", name=text).wait_for()
        assert wrong == []
    (stored,) = (one for one in reviews.read(stage.lake, key).to_pylist() if one["kind"] == reviews.EDIT)
    assert (stored["uid"], stored["by"], stored["side"], stored["text"]) == (uid, "admin", "demo/1", text)
    assert stage.audited("review") == {"key": key, "uid": uid, "kinds": ["edit"], "number": 1}


@pytest.mark.parametrize(("button", "action"), [("Drop it", "drop"), ("Apply it to {}", "apply")])
def test_a_canary_is_started_compared_and_ended_by_clicks(
    button: str, action: str, stage: Stage, chromium: Browser
) -> None:
    with visit(chromium, stage.airflow, "admin") as (page, wrong):
        page.goto(f"{stage.airflow.url}/kale/canary")
        page.get_by_label("Share of the images").fill("0.2")
        page.get_by_label("Name").fill(action)
        _press(page, "Start it", "Airflow has started")
        stage.ended("canary")
        page.goto(f"{stage.airflow.url}/kale/canary")
        page.get_by_text("images have both captions").wait_for()
        assert problems(page, stage.airflow, "/kale/canary", wrong) == []
        (one,) = canary.canaries(stage.lake)
        _press(page, button.format(one.key), "Airflow has started")
        stage.ended("canary")
        page.goto(f"{stage.airflow.url}/kale/canary")
        page.get_by_text("No canary is at hand").wait_for()
        assert wrong == []
    done = stage.audited("canary")
    assert (done["action"], done["name"], done["key"]) == (action, action, one.key)


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
    _said(page, said)


def _said(page: Page, text: str) -> None:
    page.get_by_role("status").get_by_text(text).wait_for()
