"""Data Docs of Great Expectations are written on request: pages that open without a network and run nothing."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from playwright.sync_api import Browser

from kale_tasks.errors import BadData, Conflict
from kale_tasks.lake.tables import Lake
from kale_tasks.quality.check import check_run
from kale_tasks.quality.data_docs import write_docs
from tests.kale import kale
from tests.quality.defects import failed, stored
from tests.quality.test_suite_files import CANARY, NOT_NULL, lake_of, write
from tests.quality.world import World, commit

SHORT = {
    "type": "expect_column_value_lengths_to_be_between",
    "kwargs": {"column": "alt_text", "max_value": 30},
    "description": "<script>document.title='broken in'</script>Alt-texts are short",
    "notes": "<img src=http://outside.example.org/x onerror=alert(1)> [a](http://outside.example.org)",
}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with a key that passed and one that fails a suite of its user."""
    folder = tmp_path_factory.mktemp("docs")
    write(folder, "pairs.json", NOT_NULL, SHORT, name="house_rules")
    made = lake_of(folder)
    commit(made, World("a"), "ingest", lambda rows: [row | {"alt_text": "short"} for row in rows])
    check_run(made, made.settings, "ingest", "a")
    commit(made, World("b"), "ingest", lambda rows: [row | {"alt_text": CANARY} for row in rows])
    failed(made, "ingest", "b")
    return made


@pytest.fixture(scope="module")
def docs(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    sets = [f"warehouse={lake.settings.warehouse}", f"quality.suites={lake.settings.quality.suites}"]
    answer = kale("check", "ingest", "--key", "b", "--docs", str(folder), sets=sets)
    assert answer.code == BadData.exit_code and f"Data Docs: {folder}/index.html" in answer.err
    return folder


def test_every_link_leads_to_a_page_of_the_folder(docs: Path) -> None:
    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag not in {"script", "iframe", "object", "embed", "base"}
            for name, value in attrs:
                assert not name.startswith("on")
                if name in {"src", "href", "action", "srcset"} and not str(value).startswith(("#", "data:")):
                    assert (page.parent / unquote(str(value))).resolve().is_file(), f"{page}: {value}"

    pages = sorted(docs.rglob("*"))
    assert [one for one in pages if one.is_file() and one.suffix != ".html"] == []
    pages = [one for one in pages if one.is_file()]
    assert len(pages) == 1 + 2 + 4  # the list, two suites, and their results on two keys
    for page in pages:
        Links().feed(page.read_text())


def test_the_pages_hold_no_value_of_a_row(docs: Path) -> None:
    assert all("canary" not in page.read_text() for page in docs.rglob("*.html"))


def test_a_reader_finds_the_expectation_that_failed(docs: Path, chromium: Browser) -> None:
    with chromium.new_context(offline=True, viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        trouble: list[str] = []
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", lambda r: trouble.append(r.url) if not r.url.startswith(("file:", "data:")) else None)
        page.goto((docs / "index.html").as_uri())
        assert page.get_by_text("Figures of whole keys").is_visible()
        row = page.locator("tr", has_text="house_rules").filter(has_text=re.compile("pairs b"))
        row.get_by_role("link", name="open").click()
        assert page.get_by_text("Alt-texts are short").first.is_visible()
        assert page.get_by_text("300 unexpected values found").first.is_visible()
        assert "broken in" not in page.title() and trouble == []


def test_data_docs_need_a_check(lake: Lake, tmp_path: Path) -> None:
    result = stored(lake, "ingest", "a")
    lake.storage.delete(f"validations/{result.seal_id}.json")
    with pytest.raises(Conflict, match="kale check ingest --key a"):
        write_docs(lake.storage, result, tmp_path)
