"""What bench/floors.yaml promises can be found in the tables, and a broken promise is reported."""

import os
from importlib import import_module
from pathlib import Path

import pytest

from bench import frame
from bench.floors import Floor, failures, load_floors, measured
from bench.frame import Page
from bench.results import README, gather, shown
from kale_tasks.bench.measure import Ratio, Sample, Series, in_turns, ratio

PROMISE = Floor("x.speed", 0.9, "it must not wait")


def test_every_promised_ratio_is_in_a_table_and_above_its_floor() -> None:
    assert list(failures(load_floors(), measured())) == []


@pytest.mark.parametrize("script", sorted(path.stem for path in Path(frame.__file__).parent.glob("[!_]*.py")))
def test_every_script_finds_what_it_imports(script: str) -> None:
    assert import_module(f"bench.{script}").__doc__


def test_a_ratio_below_its_floor_is_reported_with_the_reason() -> None:
    assert list(failures([PROMISE], {"x.speed": (0.8, False)})) == [
        "x.speed: 0.800 is below its floor of 0.900 (it must not wait)"
    ]


def test_a_ratio_from_a_busy_machine_and_a_missing_one_are_reported() -> None:
    assert "busy machine" in next(failures([PROMISE], {"x.speed": (1.0, True)}))
    assert "python -m bench.x" in next(failures([PROMISE], {}))


def test_a_page_holds_its_ratios_where_floors_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (0.5, 0.5, 0.5))
    page = Page("x", "Title", "About.")
    page.path, page.busy = tmp_path / "x.md", False
    page.ratio("speed", Ratio([0.9, 1.0, 1.2], busy=False))
    page.write()
    assert measured(tmp_path) == {"x.speed": (1.0, False)}


def test_results_have_every_ratio_with_its_machine_and_the_losing_ones_first() -> None:
    rows = gather()
    assert {row["name"]: row["ratio"] for row in rows} == {name: ratio for name, (ratio, _) in measured().items()}
    assert [row["loses"] for row in rows] == sorted((row["loses"] for row in rows), reverse=True)
    assert all(row["loses"] == (row["ratio"] < max(1.0, row["floor"] or 1.0)) for row in rows)
    assert all("cores" in row["machine"] for row in rows)


def test_the_readme_shows_the_ratios_beside_others_as_they_were_measured_last() -> None:
    table = shown(gather())
    assert table in README.read_text("utf-8"), "run `python -m bench.results`"
    assert table.count("| loses |") >= 1  # none is left out for being bad


def test_a_page_waits_until_the_load_of_what_ran_before_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = iter([(3.0, 0, 0), (1.8, 0, 0), (1.2, 0, 0)])
    monkeypatch.setattr(os, "getloadavg", lambda: next(loads))
    monkeypatch.setattr(frame, "_cores_used", lambda: 0.1)
    assert not Page("x", "Title", "About.").busy


def test_a_page_does_not_wait_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (3.0, 0, 0))
    monkeypatch.setattr(frame, "_cores_used", lambda: 1.9)
    assert Page("x", "Title", "About.").busy


def test_contenders_take_turns_and_change_their_order() -> None:
    order: list[str] = []
    series = in_turns({name: lambda n=name: _sample(order, n) for name in "ab"}, rounds=3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert ratio(series["a"], series["b"], lambda sample: sample.wall).median == 0.5


def test_one_busy_sample_marks_its_row() -> None:
    assert Series([Sample(1, 1), Sample(1, 1, busy=True)]).cells[2] == "busy"


def _sample(order: list[str], name: str) -> Sample:
    order.append(name)
    return Sample(wall={"a": 1.0, "b": 2.0}[name], cpu=1.0)
