"""A stored report says how old it is and what has changed in the lake since it was made."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kale_tasks.errors import BadData
from kale_tasks.lake.tables import Lake
from kale_tasks.progress import Silent
from kale_tasks.quality.check import accept_run, check_run
from kale_tasks.quality.current import age, changed_keys, changes, current_page
from kale_tasks.quality.report import make_report
from kale_tasks.quality.stored import list_reports, read_report
from kale_tasks.runner.repair import repair
from tests.quality.defects import each, failed, first_twice
from tests.quality.test_blocked import KEY, block, checked, run_of
from tests.quality.world import STEPS, World, commit, open_world


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake with a key whose pairs and images were checked and reported."""
    made = open_world(tmp_path)
    for step in ("ingest", "images"):
        checked(run_of(made, step))
    return made


def since(lake: Lake) -> list[str]:
    stored = read_report(lake.storage, KEY, "json")
    assert stored
    return changes(lake, json.loads(stored))


def test_a_report_is_made_at_every_check_before_there_are_captions(tmp_path: Path) -> None:
    lake = open_world(tmp_path)
    for step in STEPS:
        checked(run_of(lake, step))
        stored = json.loads(read_report(lake.storage, KEY, "json") or b"{}")
        assert [one["step"] for one in stored["steps"]][-1] == step
        assert stored["checks"][-1]["status"] in {"passed", "warned"}
        assert since(lake) == [], "what was checked was committed as it was"


def test_a_report_that_cannot_be_written_keeps_no_rows_from_being_committed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lake = open_world(tmp_path)
    Path(lake.storage.root, "reports").write_text("no folder")
    checked(run_of(lake, "ingest"))
    assert lake.committed("pairs", KEY)
    assert f"`kale report --key {KEY}` makes it" in caplog.text


def test_a_new_run_a_blocked_one_and_an_acceptance_are_said(lake: Lake) -> None:
    checked(run_of(lake, "images", lambda rows: rows))
    commit(lake, World(KEY), "ingest", each(dup_count=2))
    assert since(lake)[0] == "ingest: another run (300 rows then, 300 now)"
    make_report(lake, lake.settings, KEY)
    assert since(lake) == []
    block(lake)
    report = read_report(lake.storage, KEY, "json")
    accept_run(lake, "ingest", KEY, "one pair was listed twice")
    checked(run_of(lake, "ingest", first_twice))
    assert report and changes(lake, json.loads(report)) == ["ingest: blocked then, accepted now"]


def test_a_new_step_and_rows_that_are_gone_are_said(lake: Lake) -> None:
    commit(lake, World(KEY), "fuse")
    assert since(lake)[0].startswith("captions, stage 1") or since(lake)[0].endswith("rows are new")


def test_keys_whose_reports_are_out_of_date_are_found_without_reading_their_rows(lake: Lake) -> None:
    other = "2026-11-03"
    checked(run_of(lake, "ingest", world=World(other)))
    keys, _ = list_reports(lake.storage)
    assert {one.name for one in keys} == {KEY, other} and changed_keys(lake, keys) == set()
    block(lake, first_twice)
    assert changed_keys(lake, list_reports(lake.storage)[0]) == set(), "the check has made a new report"
    commit(lake, World(other), "ingest", each(dup_count=2))
    assert changed_keys(lake, list_reports(lake.storage)[0]) == {other}


def test_the_page_shows_age_changes_and_links_to_rows_that_fail(lake: Lake) -> None:
    page = current_page(lake, KEY, "/kale")
    assert page and "Nothing has changed since" in page and "/kale/failing" not in page
    commit(lake, World(KEY), "ingest", each(url="file:///x"))
    with pytest.raises(BadData):
        check_run(lake, lake.settings, "ingest", KEY)
    page = current_page(lake, KEY, "/kale")
    assert page and "ingest: another run" in page
    assert f'href="/kale/failing/ingest/{KEY}.csv"' in page
    assert current_page(lake, "1999-01-01", "/kale") is None


def test_an_age_is_said_in_words() -> None:
    now = datetime(2026, 11, 30, 12, tzinfo=UTC)
    assert [age((now - timedelta(seconds=s)).isoformat(), now) for s in (7, 600, 7200)] == ["7.0 s", "10 min", "2.0 h"]


def test_a_failed_check_says_what_was_seen_and_wanted_on_the_page(tmp_path: Path) -> None:
    lake = open_world(tmp_path)
    commit(lake, World(KEY), "ingest", each(text="CafÃ© de la gare"))
    result = failed(lake, "ingest", KEY)
    make_report(lake, lake.settings, KEY)
    page = (read_report(lake.storage, KEY, "html") or b"").decode()
    assert "Alt-texts are decoded correctly: saw <strong>100.0 %</strong>, wanted at most 5.0 %" in page
    counts = [sum(one.status == status for one in result.checks) for status in ("passed", "failed", "skipped")]
    assert "{} passed, {} failed, {} skipped (0 of 3 earlier keys".format(*counts) in page
    assert "--failing 100" in page and "suite kale" in page and ">figure<" in page


def test_a_damaged_file_of_the_ledger_is_named_and_the_report_is_made_once_it_is_repaired(lake: Lake) -> None:
    path = lake.files("runs", KEY)[0].path
    lake.storage.put(path, b"torn")
    with pytest.raises(BadData, match=f"Run `kale repair --key {KEY}`"):
        make_report(lake, lake.settings, KEY)
    assert repair(lake, lake.settings, Silent(), key=KEY).left == {}
    assert make_report(lake, lake.settings, KEY).summary()["pairs"] == 300
