"""Progress: what its lines and its JSON report."""

import json
from io import StringIO

from kale_tasks.progress import Counting, Lines


def test_a_line_names_the_unit_and_the_facts() -> None:
    out = StringIO()
    work = Lines(out)
    work.begin("publish v3", 4, "files")
    work.advance(1, resumed=True)
    work.advance(3, bytes=7.25, failed=0)
    work.end()
    assert out.getvalue().splitlines()[-1].startswith("publish v3: 4 of 4 files, ")
    assert out.getvalue().endswith("files/s (bytes 7.2)\n")


def test_work_of_an_earlier_attempt_does_not_count_for_the_rate() -> None:
    work = Lines(StringIO())
    work.begin("ingest", 0)
    work.advance(10**12, resumed=True)
    assert work.rate == 0


def test_json_lines_report_the_same_figures() -> None:
    out = StringIO()
    work = Lines(out, as_json=True)
    work.begin("ingest", 10)
    work.advance(5, dropped=2)
    state = json.loads(out.getvalue())
    assert (state["title"], state["rows"], state["total"], state["dropped"]) == ("ingest", 5, 10, 2)
    assert state["rows_per_second"] > 0 and state["seconds_left"] == 0


def test_the_time_left_is_never_negative() -> None:
    work = Lines(StringIO())
    work.begin("images", 1)
    work.advance(2)
    assert work.state()["seconds_left"] == 0


def test_a_gauge_shows_its_latest_value() -> None:
    work = Counting()
    work.gauge(images_per_s=10.0)
    work.gauge(images_per_s=4.0)
    assert work.state()["images_per_s"] == 4.0
