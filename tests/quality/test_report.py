"""A report is one self-contained page with the figures of the lake."""

import json
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from kale_tasks.errors import BadConfig, Conflict
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.lake.tables import Lake
from kale_tasks.quality.check import check_run
from kale_tasks.quality.committed import find
from kale_tasks.quality.metrics import captions_of
from kale_tasks.quality.release_report import make_release_report
from kale_tasks.quality.report import Report, make_report
from kale_tasks.quality.stored import list_reports, put_report, report_path
from tests.quality.world import DENSE, STEPS, Rows, World, commit, open_world

KEY = "2026-11-02"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = open_world(tmp_path_factory.mktemp("report"))
    for key in ("2026-11-01", KEY):
        for step in STEPS:
            commit(lake, World(key, pairs=120), step, quarantined=2 if step == "ingest" else 0)
            check_run(lake, lake.settings, step, key)
    return lake


@pytest.fixture(scope="module")
def report(lake: Lake) -> Report:
    return make_report(lake, lake.settings, KEY)


def test_the_funnel_is_what_was_committed(lake: Lake, report: Report) -> None:
    rows = {f.step: f.committed.rows for f in report.found}
    came = lake.arrow("images", KEY, ["status"])["status"].to_pylist().count("ok")
    assert report.funnel == {
        "landing rows": 162,
        "pairs": 120,
        "images": came,
        "texts of dense": rows[DENSE],
        "captions, stage 1": rows["fuse"],
        "captions, stage 2": rows["student"],
    }
    assert report.quarantine == {"ingest · broken": 2}
    assert sum(report.image_outcomes.values()) == 120


def test_metrics_are_those_of_the_texts(lake: Lake, report: Report) -> None:
    found = {row["source"]: row for row in report.metrics}
    captions = lake.arrow("captions", KEY, ["stage", "caption", "facts", "facts_from_alt"]).to_pylist()
    stage1 = [row for row in captions if row["stage"] == 1]
    assert found["stage 1"]["words_mean"] == pytest.approx(
        sum(len(row["caption"].split()) for row in stage1) / len(stage1), abs=1e-3
    )
    carried = sum(row["facts_from_alt"] for row in stage1) / sum(row["facts"] for row in stage1)
    assert found["stage 1"]["facts_from_alt_share"] == pytest.approx(carried, abs=1e-3)
    assert found["stage 1"]["overlap_with_dense"] > 0.8 and found["stage 2"]["overlap_with_dense"] is None


def test_samples_are_random_ones_and_extremes_with_their_images(report: Report) -> None:
    assert {"random", "most facts of the alt-text"} <= {sample.why for sample in report.samples}
    assert all(sample.image.startswith("data:image/jpeg;base64,") for sample in report.samples)
    assert {(sample.stage, "from the dense caption" in sample.facts) for sample in report.samples} == {
        (1, True),
        (2, False),
    }


def test_the_json_beside_it_holds_the_same_figures_and_no_picture(lake: Lake, report: Report) -> None:
    text = lake.storage.read(report_path(KEY, "json"))
    found = json.loads(text)
    assert found["funnel"] == report.funnel and len(found["checks"]) == 5 and b"base64" not in text
    assert json.loads(lake.storage.read(report_path(KEY, "summary.json")))["status"] == report.status


def test_the_page_loads_nothing(lake: Lake, report: Report) -> None:
    class Links(HTMLParser):
        found: list[str]

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag not in ("script", "iframe", "object", "embed", "base")
            self.found += [str(v) for k, v in attrs if k in ("src", "href", "action", "srcset")]

    links = Links()
    links.found = []
    links.feed(lake.storage.read(report_path(KEY, "html")).decode())
    assert links.found and all(link.startswith(("#", "data:")) for link in links.found)


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_complete_without_a_network(
    width: int, scheme: str, lake: Lake, report: Report, chromium: Browser, tmp_path: Path
) -> None:
    page_file = tmp_path / "report.html"
    page_file.write_bytes(lake.storage.read(report_path(KEY, "html")))
    view = {"width": width, "height": 900}
    with chromium.new_context(viewport=view, offline=True, color_scheme=scheme) as context:  # type: ignore[arg-type]
        page = context.new_page()
        messages: list[str] = []
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda r: messages.append(r.url) if not r.url.startswith(("file:", "data:")) else None)
        page.goto(page_file.as_uri())
        assert messages == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "wider than the screen"
        assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        for heading in ("Checks", "Captions beside their images", "Texts in figures", "Time and cost", "Lineage"):
            assert page.get_by_role("heading", name=heading, exact=True).is_visible()
        assert page.locator("svg.chart").count() >= 4


def test_quarantined_rows_are_shown_with_a_few_of_their_details_and_these_are_only_text(tmp_path: Path) -> None:
    lake, world = open_world(tmp_path), World(KEY, pairs=9)
    commit(lake, world, "ingest", quarantined=4, detail="<b>a.csv</b>: {{ 7 * 7 }} 'ended' \u202e" + "x" * 999)
    report = make_report(lake, lake.settings, KEY)
    page = lake.storage.read(report_path(KEY, "html")).decode()
    assert "&lt;b&gt;a.csv&lt;/b&gt;: {{ 7 * 7 }}" in page and "<b>a.csv" not in page and "x" * 300 not in page
    assert [len(few) for few in report.quarantine_details.values()] == [1], "four times the same"
    assert "a.csv" not in lake.storage.read(report_path(KEY, "json")).decode()


def test_a_missing_release_and_a_key_without_rows_are_errors(lake: Lake) -> None:
    with pytest.raises(BadConfig, match="Releases: none yet"):
        make_release_report(lake, lake.settings, "v1")
    with pytest.raises(Conflict, match="kale run ingest --key 1999-01-01"):
        make_report(lake, lake.settings, "1999-01-01")


def test_headline_figures_cover_the_captions_of_both_stages(tmp_path: Path) -> None:
    lake, world = open_world(tmp_path), World(KEY, pairs=120)
    for step in STEPS:
        commit(lake, world, step, invent if step == "student" else list)
    report = make_report(lake, lake.settings, KEY)
    rows = lake.arrow("captions", KEY, ["stage", "facts", "facts_invented"]).to_pylist()
    share = sum(row["facts_invented"] for row in rows) / sum(row["facts"] for row in rows)
    by_source = {row["source"]: row["facts_invented_share"] for row in report.metrics}
    assert by_source["stage 1"] == 0 and by_source["stage 2"] == 1
    assert report.summary()["facts_invented_share"] == report.fact_shares["facts_invented_share"]
    assert 0 < share < 1 and report.fact_shares["facts_invented_share"] == pytest.approx(share, abs=1e-3)
    few = lake.settings.with_values({"quality": {"metric_rows": 7}})
    assert Counter(captions_of(lake, few, find(lake, KEY))["stage"].to_pylist()) == {1: 7, 2: 7}


def invent(rows: Rows) -> Rows:
    return [row | {"facts": 2, "facts_invented": 2, "facts_from_alt": 0, "facts_from_dense": 0} for row in rows]


def test_releases_are_listed_by_the_time_they_were_built(tmp_path: Path) -> None:
    storage = FolderStorage(str(tmp_path))
    for name, built in {"all-f0": "2026-11-01", "all-00": "2026-11-03", "all-aa": "2026-11-02"}.items():
        put_report(storage, f"release-{name}", "", {}, {"built": built, "at": "2026-12-01"})
    put_report(storage, "2026-11-01", "", {}, {})
    keys, releases = list_reports(storage)
    assert [key.title for key in keys] == ["2026-11-01"]
    assert [release.title for release in releases] == ["all-00", "all-aa", "all-f0"]
