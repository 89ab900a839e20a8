"""Visits of logged-in browsers to pages of a running Airflow, and what is wrong with a page."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.ui.conftest import Airflow

_SERIOUS = ("serious", "critical")
# The elements that are wider than the window and have no scroll bar of their own.
_WIDE = """[...document.querySelectorAll('main *')].filter(one => one.getBoundingClientRect().right > innerWidth + 1
  && !one.closest('.scroll')).slice(0, 3).map(one => one.outerHTML.slice(0, 200))"""


@contextmanager
def visit(chromium: Browser, airflow: Airflow, user: str, width: int = 1440) -> Iterator[tuple[Page, list[str]]]:
    """A page of a logged-in browser, and what went wrong: console errors and requests to elsewhere."""
    wrong: list[str] = []
    with chromium.new_context(viewport={"width": width, "height": 900}) as context:
        with airflow.client(user) as client:
            token = client.headers["Authorization"].removeprefix("Bearer ")
        context.add_cookies([{"name": "_token", "value": token, "url": airflow.url}])
        page = context.new_page()
        page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on(
            "request", lambda asked: None if asked.url.startswith((airflow.url, "data:")) else wrong.append(asked.url)
        )
        yield page, wrong


def axe() -> str:
    """The script of axe-core; the test is skipped where it is not installed."""
    return files(pytest.importorskip("axe_playwright_python")).joinpath("axe.min.js").read_text("utf-8")


def problems(page: Page, airflow: Airflow, path: str, wrong: list[str]) -> list[Any]:
    """Open a page and return what is wrong with it; a path that ends with x leads to no page, and says so."""
    absent = path.endswith("x")
    answer = page.goto(f"{airflow.url}{path}")
    assert answer and answer.status == (404 if absent else 200), path
    assert page.title() != "broken in", "a script of a caption ran"
    found: list[Any] = [one for one in wrong if not (absent and "404" in one)]
    wrong.clear()
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        found.append(page.evaluate(_WIDE))
    page.evaluate(axe())
    barriers = page.evaluate("axe.run()")["violations"]
    return found + [(one["id"], one["nodes"][0]["html"]) for one in barriers if one["impact"] in _SERIOUS]
