"""The live view of the demonstration: rows, rates, time left, and the first captions once there are any."""

import io
from collections.abc import Sequence

import pytest
from rich.console import Console

from kale_tasks.world.demo.chain import Cell
from kale_tasks.world.demo.results import result_tables
from kale_tasks.world.demo.run import is_done
from kale_tasks.world.demo.view import View
from tests.explore.conftest import KEY
from tests.lakes import lake_of

OTHER = "2026-11-02"
CELLS = [
    Cell("kale_ingest", KEY, "success", ""),
    Cell("kale_images", KEY, "success", ""),
    Cell("kale_stage1", KEY, "success", ""),
    Cell("kale_ingest", OTHER, "running", "ingest.work 0"),
    Cell("kale_distill", "all", "queued", ""),
]


def shown(captioned: list[str], cells: Sequence[Cell], *, terminal: bool) -> str:
    lake, settings = lake_of(captioned)
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, color_system="truecolor" if terminal else None, width=140)
    with View(console, lake, settings, [KEY, OTHER], "http://127.0.0.1:8080") as view:
        view.show(cells)
        view.show(cells)
        if terminal:
            console.print(view._drawn({(cell.key, cell.dag): cell for cell in cells}, []))
    return out.getvalue()


def test_a_terminal_shows_rows_by_key_and_the_time_left(captioned: list[str]) -> None:
    text = shown(captioned, CELLS, terminal=True)
    rows = lake_of(captioned)[0].committed("pairs", KEY)
    assert rows and f"{rows.rows}" in text and "captions, stage 1" in text and "queued" in text
    assert "of the work is done, about" in text and "quality_report" not in text
    assert text.count("The first captions") == 1 and "\N{UPPER HALF BLOCK}" in text


def test_a_log_gets_a_line_for_each_change_with_its_rows(captioned: list[str]) -> None:
    lines = [line for line in shown(captioned, CELLS, terminal=False).splitlines() if f"{KEY} " in line]
    done = [line for line in lines if "success" in line]
    assert len(done) == 3 and all(line.endswith(" rows") for line in done)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_student_that_is_not_due_yet_waits(captioned: list[str], terminal: bool) -> None:
    text = shown(captioned, [Cell("kale_distill", "all", "success", "")], terminal=terminal)
    assert "waits for more keys" in text and "0 rows" not in text


def test_tables_of_results_explain_themselves(captioned: list[str]) -> None:
    lake, settings = lake_of(captioned)
    out = io.StringIO()
    for table in result_tables(lake, settings, [KEY]):
        Console(file=out, width=160).print(table)
    assert "ingest keeps pairs that are clean" in out.getvalue() and "invents nothing" in out.getvalue()


@pytest.mark.parametrize("keys", [[KEY], [KEY, OTHER]])
def test_a_lake_without_a_release_is_not_done(captioned: list[str], keys: list[str]) -> None:
    lake, settings = lake_of(captioned)
    assert not is_done(lake, settings, keys)
