"""The pages inside Airflow: who may see them, what they show, and that no script in them runs."""

import re

import pytest
from playwright.sync_api import Browser, Page

from kale_tasks.lake.tables import Lake
from kale_tasks.quality.stored import list_reports, put_published
from tests.ui.conftest import FAILED_KEY, KEY, RUN, SECOND_KEY, Airflow

ROUTES = [
    "/kale/",
    "/kale/reports",
    f"/kale/report/{KEY}",
    f"/kale/report/{KEY}.json",
    f"/kale/keys/{KEY}",
    f"/kale/captions?key={KEY}",
    f"/kale/run/kale_quality_report/{RUN}",
]


@pytest.mark.parametrize("route", ROUTES)
def test_pages_need_a_login(route: str, airflow: Airflow) -> None:
    with airflow.client(None) as client:
        assert client.get(route).status_code == 401


def test_a_browser_without_a_login_is_sent_to_it_and_a_script_is_not(airflow: Airflow) -> None:
    with airflow.client(None) as client:
        page = client.get("/kale/?x=1&y=2", headers={"Accept": "text/html,application/xhtml+xml"})
        script = client.get("/kale/", headers={"Accept": "application/json"})
    assert (page.status_code, page.headers["location"]) == (302, "/api/v2/auth/login?next=%2Fkale%2F%3Fx%3D1%26y%3D2")
    assert (script.status_code, script.json()) == (401, {"detail": "Not authenticated"})


@pytest.mark.parametrize("where", ["/kale/", f"/kale/report/{KEY}"])
def test_the_login_leads_back_to_the_page(airflow: Airflow, chromium: Browser, where: str) -> None:
    with chromium.new_context() as context:
        page = context.new_page()
        page.goto(f"{airflow.url}{where}")
        page.locator("input[name=username]").fill("viewer")
        page.locator("input[name=password]").fill(airflow.passwords["viewer"])
        page.locator("button[type=submit]").click()
        page.wait_for_url(f"{airflow.url}{where}")
        page.get_by_text(KEY).first.wait_for()


@pytest.mark.parametrize("route", ROUTES)
def test_a_forged_token_is_refused(route: str, airflow: Airflow) -> None:
    with airflow.client(None) as client:
        assert client.get(route, headers={"Authorization": "Bearer forged"}).status_code == 403


@pytest.mark.parametrize("user", ["viewer", "admin"])
@pytest.mark.parametrize("route", ROUTES)
def test_who_may_read_the_dag_may_read_the_pages(user: str, route: str, airflow: Airflow) -> None:
    with airflow.client(user) as client:
        answer = client.get(route, follow_redirects=True)
        assert answer.status_code == 200
        assert KEY in answer.text


@pytest.mark.parametrize("user", ["viewer", "admin"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed_through_the_pages(user: str, method: str, airflow: Airflow) -> None:
    with airflow.client(user) as client:
        assert client.request(method, f"/kale/report/{KEY}").status_code == 405


@pytest.mark.parametrize("name", ["2099-01-01", "%2e%2e", "a" * 70])
def test_a_missing_report_says_how_to_make_it(name: str, airflow: Airflow) -> None:
    with airflow.client("viewer") as client:
        answer = client.get(f"/kale/report/{name}")
    assert answer.status_code == 404
    assert "run <code>kale report --key K</code>" in answer.text


def test_no_path_leads_out_of_the_reports(airflow: Airflow) -> None:
    with airflow.client("viewer") as client:
        answer = client.get("/kale/report/..%2f..%2fcatalog")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


def test_the_report_link_of_a_task_without_a_key_leads_to_the_list(airflow: Airflow) -> None:
    with airflow.client("viewer") as client:
        answer, index = client.get("/kale/report/all"), client.get("/kale/reports")
        assert answer.status_code == index.status_code == 200
        assert answer.text == index.text


@pytest.mark.parametrize("user", ["viewer", "admin"])
def test_every_page_that_the_list_leads_to_opens(user: str, airflow: Airflow) -> None:
    with airflow.client(user) as client:
        visited: dict[str, int] = {}
        waiting = ["/kale/reports"]
        while waiting:
            route = waiting.pop()
            answer = client.get(route, follow_redirects=True)
            visited[route] = answer.status_code
            links = [link for link in _links(answer.text) if link.startswith("/kale")]
            waiting += [link for link in links if link not in visited]
    assert set(visited.values()) == {200}, visited
    assert {f"/kale/report/{key}" for key in (KEY, SECOND_KEY, FAILED_KEY)} < set(visited)
    assert sum(route.startswith("/kale/report/release-") for route in visited) == 2


def test_the_list_and_the_pages_it_leads_to_need_a_login(airflow: Airflow) -> None:
    with airflow.client("viewer") as client:
        index = client.get("/kale/reports")
    links = [link for link in _links(index.text) if link.startswith("/kale")]
    assert (index.status_code, len(links)) == (200, 5)
    with airflow.client(None) as client:
        assert {client.get(link).status_code for link in links} == {401}


def test_a_key_that_failed_its_first_check_shows_what_failed(airflow: Airflow) -> None:
    with airflow.client("viewer") as client:
        answer = client.get(f"/kale/report/{FAILED_KEY}")
    assert answer.status_code == 200
    assert "uid_unique" in answer.text and "failed" in answer.text


def test_the_list_marks_the_published_release(airflow: Airflow, lake: Lake) -> None:
    with airflow.client("viewer") as client:
        before = client.get("/kale/reports")
        _, releases = list_reports(lake.storage)
        put_published(lake.storage, releases[1].title)
        after = client.get("/kale/reports")
    assert before.status_code == after.status_code == 200
    assert "published" not in before.text
    row = re.search(rf"<tr>.*{releases[1].title}.*</tr>", after.text)
    assert row and ">published<" in row[0] and releases[0].title not in row[0]


def _links(html: str) -> list[str]:
    return re.findall(r'<a href="([^"]+)"', html)


def test_a_missing_run_is_not_found(airflow: Airflow) -> None:
    with airflow.client("viewer") as client:
        assert client.get("/kale/run/kale_quality_report/never").status_code == 404


@pytest.mark.parametrize("route", ["/kale/docs", "/kale/redoc", "/kale/openapi.json"])
def test_the_pages_do_not_describe_themselves(route: str, airflow: Airflow) -> None:
    with airflow.client("admin") as client:
        assert client.get(route).status_code == 404


def test_pages_allow_no_script_and_no_request(airflow: Airflow) -> None:
    with airflow.client("viewer") as client:
        answer = client.get(f"/kale/report/{KEY}")
    assert answer.status_code == 200
    headers = answer.headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "script" not in policy
    assert headers["cache-control"] == "private, no-store"


def test_the_list_and_the_tab_are_seen_in_a_running_airflow(airflow: Airflow, chromium: Browser) -> None:
    with chromium.new_context(viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        _login(page, airflow)
        page.goto(f"{airflow.url}/plugin/kale")
        frame = page.frame_locator("iframe")
        frame.get_by_role("link", name=KEY, exact=True).first.click()
        frame.get_by_role("heading", name=KEY, exact=True).wait_for()
        page.goto(f"{airflow.url}/dags/kale_quality_report/runs/{RUN}")
        page.get_by_role("link", name="KALE report").click()
        frame = page.frame_locator("iframe")
        frame.get_by_role("heading", name=KEY, exact=True).wait_for()
        assert frame.locator("article").count() > 3
        assert page.frames[-1].title() == f"{KEY} · KALE", "a script of a caption ran"
        assert page.frames[-1].evaluate("getComputedStyle(document.querySelector('section')).borderRadius") == "12px"


def _login(page: Page, airflow: Airflow) -> None:
    page.goto(airflow.url)
    page.locator("input[name=username]").fill("viewer")
    page.locator("input[name=password]").fill(airflow.passwords["viewer"])
    page.locator("button[type=submit]").click()
    page.wait_for_url("**/")
    page.get_by_role("link", name="KALE").first.wait_for()
