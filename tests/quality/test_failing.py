"""The rows that fail a check can be had with their values and the reason."""

import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from kale_tasks.errors import BadData, Conflict
from kale_tasks.quality.check import check_run
from kale_tasks.quality.failing import failing_rows, summary
from tests.kale import kale
from tests.quality.defects import each, failed, failing, share
from tests.quality.world import DENSE, World, commit, open_world


def test_rows_carry_their_values_and_the_reason_and_are_no_more_than_asked_for(tmp_path: Path) -> None:
    lake = open_world(tmp_path)
    commit(lake, World("k"), "ingest", share(0.2, url="file:///etc/passwd", text="CafÃ© de la gare"))
    failed(lake, "ingest", "k")
    rows = failing_rows(lake, lake.settings, "ingest", "k", 7).to_pylist()
    by_check = {row["check"]: row for row in rows}
    assert by_check["url_form"]["url"] == "file:///etc/passwd"
    assert by_check["url_form"]["reason"] == "url is an http address"
    assert by_check["mojibake_share"]["text"] == "CafÃ© de la gare"
    assert all(sum(row["check"] == check for row in rows) <= 7 for check in by_check)


def test_quarantined_rows_are_listed_with_their_reason(tmp_path: Path) -> None:
    lake = open_world(tmp_path)
    for step in ("ingest", "images"):
        commit(lake, World("k"), step)
    commit(lake, World("k"), DENSE, quarantined=30)
    failed(lake, DENSE, "k")
    rows = failing_rows(lake, lake.settings, DENSE, "k", 20).to_pylist()
    assert [(row["check"], row["reason"], row["text"]) for row in rows] == [("quarantined_share", "broken", None)] * 20


def test_a_figure_of_the_whole_key_fails_no_single_row(tmp_path: Path) -> None:
    lake = open_world(tmp_path)
    commit(lake, World("k"), "ingest", lambda rows: rows[:1])
    failed(lake, "ingest", "k")
    rows = failing_rows(lake, lake.settings, "ingest", "k", 5)
    assert (rows.num_rows, summary(rows)) == (0, "no single row fails a check")


def test_rows_that_were_never_checked_say_what_to_do(tmp_path: Path) -> None:
    lake = open_world(tmp_path)
    with pytest.raises(Conflict, match="kale check ingest --key k"):
        failing_rows(lake, lake.settings, "ingest", "k", 5)


@pytest.mark.parametrize("name", ["failing.csv", "failing.parquet"])
def test_the_command_writes_them_also_when_the_check_fails(name: str, tmp_path: Path) -> None:
    lake = open_world(tmp_path)
    commit(lake, World("k"), "ingest")
    commit(lake, World("k"), "images", failing(0.9, "http_404"))
    out, sets = tmp_path / name, [f"warehouse={lake.settings.warehouse}", f"landing={lake.settings.landing}"]
    answer = kale("check", "images", "--key", "k", "--failing", "5", "--out", str(out), sets=sets)
    assert answer.code == BadData.exit_code and f"Failing rows: {out} (yield_share 5" in answer.err
    rows = pq.read_table(out).to_pylist() if out.suffix == ".parquet" else list(csv.DictReader(out.open()))
    assert {row["reason"] for row in rows} == {"Enough images were fetched"} and len(rows) == 5
    assert rows[0]["status"] == "failed" and rows[0]["own_reason"] == "http_404"


def test_a_check_that_passes_lists_no_row(tmp_path: Path) -> None:
    lake = open_world(tmp_path)
    commit(lake, World("k"), "ingest", each(dup_count=2))
    check_run(lake, lake.settings, "ingest", "k")
    assert failing_rows(lake, lake.settings, "ingest", "k", 5).num_rows == 0
