"""Uses the pages of Airflow as a person would."""

from datetime import date

from playwright.sync_api import Browser, Page

from kale_tasks.airflow.standalone import PASSWORD, USER, StandaloneAirflow

_PATIENCE_MS = 120_000


def backfill_all_runs(browser: Browser, airflow: StandaloneAirflow, first: str, last: str) -> None:
    """Log in, open the trigger dialog of kale_ingest, and backfill all runs of these days."""
    page = logged_in(browser, airflow.url, USER, PASSWORD)
    page.goto(f"{airflow.url}/dags/kale_ingest")
    page.get_by_role("button", name="Trigger").first.click()
    dialog = page.get_by_role("dialog").first
    dialog.locator("label:has(input[value=backfill])").click()
    _choose(page, 0, first)
    _choose(page, 1, last)
    dialog.locator("label:has(input[value=completed])").click()
    with page.expect_response(lambda answer: answer.url.endswith("/backfills")) as answered:
        dialog.get_by_role("button", name="Run Backfill").click()
    assert answered.value.ok, answered.value.text()
    page.close()


def logged_in(browser: Browser, url: str, user: str, password: str) -> Page:
    """Open a page of an Airflow as this user."""
    page = browser.new_page(viewport={"width": 1300, "height": 1200})
    page.set_default_timeout(_PATIENCE_MS)
    page.goto(f"{url}/auth/login/")
    page.fill("input[name=username]", user)
    page.fill("input[name=password]", password)
    page.locator("button[type=submit]").click()
    page.wait_for_url(lambda url: "login" not in url)
    return page


def _choose(page: Page, number: int, day: str) -> None:
    page.get_by_test_id("datetime-input").nth(number).click()
    page.get_by_placeholder("YYYY/MM/DD").last.fill(date.fromisoformat(day).strftime("%Y/%m/%d"))
    page.get_by_placeholder("HH:mm").last.fill("00:00")
    page.keyboard.press("Escape")
