"""The pages in a browser and the API server of Airflow, as admin, viewer and nobody, wide and narrow."""

import re

import pytest
from playwright.sync_api import Browser

from kale_tasks.lake import reviews
from kale_tasks.lake.tables import Lake
from tests.ui.conftest import KEY, SECOND_KEY, Airflow
from tests.ui.test_pages import _login as login_as_viewer
from tests.ui.visits import axe, problems, visit


def _paths(lake: Lake) -> list[str]:
    uids = sorted(lake.arrow("captions", KEY, ["uid"], slice_={"recipe": "kale", "stage": 1})["uid"].to_pylist())
    releases = sorted(set(lake.arrow("releases", columns=["version"])["version"].to_pylist()))
    return [
        "/kale/",
        f"/kale/keys/{KEY}?other={SECOND_KEY}",
        f"/kale/captions?key={KEY}",
        f"/kale/captions?key={KEY}&sort=invented",
        *(f"/kale/rows/{KEY}/{uid}" for uid in uids[:2]),
        f"/kale/votes?key={SECOND_KEY}",
        "/kale/quality",
        "/kale/models",
        "/kale/releases",
        f"/kale/releases/{releases[0]}?old={releases[1]}",
        "/kale/canary",
        f"/kale/try?key={KEY}&uid={uids[1]}",
        "/kale/reports",
        f"/kale/keys/{KEY}x",
    ]


@pytest.mark.parametrize(
    ("user", "width"),
    [
        ("admin", 1440),
        pytest.param("viewer", 400, marks=pytest.mark.nightly),
        pytest.param("admin", 400, marks=pytest.mark.nightly),
        pytest.param("viewer", 1440, marks=pytest.mark.nightly),
    ],
)
def test_every_page_is_whole_quiet_and_without_barriers(
    user: str, width: int, airflow: Airflow, lake: Lake, chromium: Browser
) -> None:
    with visit(chromium, airflow, user, width) as (page, wrong):
        found = {path: problems(page, airflow, path, wrong) for path in _paths(lake)}
    assert {path: one for path, one in found.items() if one} == {}


@pytest.mark.nightly
def test_in_the_dark_texts_can_be_read(airflow: Airflow, lake: Lake, chromium: Browser) -> None:
    with visit(chromium, airflow, "admin") as (page, _):
        page.emulate_media(color_scheme="dark")
        for path in _paths(lake)[:9]:
            page.goto(f"{airflow.url}{path}")
            page.evaluate(axe())
            found = page.evaluate("axe.run({runOnly: ['color-contrast']})")
            assert [one["nodes"][0]["html"] for one in found["violations"]] == [], path


def test_a_viewer_is_offered_no_action_and_nobody_sees_a_page(airflow: Airflow, lake: Lake, chromium: Browser) -> None:
    with visit(chromium, airflow, "viewer") as (page, _):
        for path in _paths(lake):
            page.goto(f"{airflow.url}{path}")
            assert page.locator("form[method=post] button").count() == 0, path
    with airflow.client(None) as client:
        assert {client.get(path).status_code for path in _paths(lake)} == {401}


def test_a_vote_a_verdict_and_a_report_are_stored_by_clicks(airflow: Airflow, lake: Lake, chromium: Browser) -> None:
    uid = sorted(lake.arrow("captions", SECOND_KEY, ["uid"])["uid"].to_pylist())[3]
    with visit(chromium, airflow, "admin") as (page, wrong):
        page.goto(f"{airflow.url}/kale/votes?key={SECOND_KEY}")
        page.get_by_role("button", name="The second is better").click()
        page.get_by_role("status").get_by_text("Stored.").wait_for()
        page.goto(f"{airflow.url}/kale/rows/{SECOND_KEY}/{uid}")
        page.get_by_text("judge its sentences").click()
        page.locator("select[name=verdict]").first.select_option("wrong")
        page.get_by_role("button", name="Store the verdicts").click()
        page.get_by_text("1 verdicts are stored").wait_for()
        page.get_by_label("What is wrong with it").fill("A person can be seen.")
        page.get_by_role("button", name="Report this row").click()
        page.goto(f"{airflow.url}/kale/quality")
        page.get_by_text("A person can be seen.").wait_for()
        assert wrong == []
    kinds = reviews.read(lake, SECOND_KEY)["kind"].to_pylist()
    assert sorted(set(kinds)) == ["preference", "report", "sentence"]


def test_actions_start_dags_in_the_name_of_the_person_and_are_in_the_audit_log(
    airflow: Airflow, lake: Lake, chromium: Browser
) -> None:
    uid = sorted(lake.arrow("captions", SECOND_KEY, ["uid"])["uid"].to_pylist())[4]
    with visit(chromium, airflow, "admin") as (page, wrong):
        page.goto(f"{airflow.url}/kale/keys/{SECOND_KEY}")
        page.get_by_role("button", name="Fetch failed images again").click()
        page.get_by_role("status").get_by_text("Airflow has started").wait_for()
        page.goto(f"{airflow.url}/kale/rows/{SECOND_KEY}/{uid}")
        page.get_by_text("take this row down").click()
        page.get_by_role("button", name="Take it down").click()
        page.get_by_role("status").get_by_text("Airflow has started").wait_for()
        page.goto(f"{airflow.url}/kale/releases")
        page.get_by_role("button", name="Build it").click()
        page.get_by_role("status").get_by_text("Airflow has started").wait_for()
        assert wrong == []
    with airflow.client("admin") as client:
        runs = {
            dag: client.get(f"/api/v2/dags/kale_{dag}/dagRuns").json()["dag_runs"] for dag in ("images", "takedown")
        }
        log = client.get("/api/v2/eventLogs", params={"order_by": "-id", "limit": 50}).json()["event_logs"]
    (run,) = runs["images"]
    assert (run["partition_key"], run["conf"], run["triggering_user_name"]) == (SECOND_KEY, {"redrive": True}, "admin")
    assert uid not in str(runs["takedown"]) and runs["takedown"][0]["conf"]["list"].endswith(".txt")
    events = {one["event"]: one for one in log}
    assert {"kale.start", "kale.takedown"} <= events.keys() and events["kale.start"]["owner"] == "admin"


@pytest.mark.parametrize("user", ["viewer", None])
def test_who_has_no_right_cannot_act_by_hand_either(user: str | None, airflow: Airflow) -> None:
    with airflow.client(user) as client:
        for path, form in {
            f"/kale/keys/{KEY}/start": {"what": "images"},
            "/kale/models/rollback": {"recipe": "kale", "why": "x"},
            "/kale/releases/start": {},
            "/kale/canary/start": {"key": KEY, "recipe": "kale"},
        }.items():
            assert client.post(path, data=form).status_code == (403 if user else 401), path


def test_a_page_of_another_site_cannot_act_with_the_session_of_a_reader(airflow: Airflow, chromium: Browser) -> None:
    with visit(chromium, airflow, "admin") as (page, _):
        page.goto("about:blank")
        form = f'<form method="post" action="{airflow.url}/kale/releases/start"><button>go</button></form>'
        page.set_content(form)
        with page.expect_navigation() as moved:
            page.get_by_role("button", name="go").click()
        assert moved.value and moved.value.status in (401, 403)


def test_pages_can_be_used_by_keyboard(airflow: Airflow, chromium: Browser) -> None:
    with visit(chromium, airflow, "viewer") as (page, _):
        page.goto(f"{airflow.url}/kale/captions?key={KEY}")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('main') !== null")
        page.get_by_label("Search for").focus()
        page.keyboard.type("zebra")
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile("q=zebra"))
        page.get_by_text("No caption of").wait_for()


@pytest.mark.nightly
def test_the_pages_are_in_the_navigation_of_airflow(airflow: Airflow, chromium: Browser) -> None:
    with chromium.new_context(viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        login_as_viewer(page, airflow)
        page.goto(f"{airflow.url}/plugin/kale")
        frame = page.frame_locator("iframe")
        frame.get_by_role("link", name="Quality", exact=True).click()
        frame.get_by_role("heading", name="Checks by key").wait_for()
