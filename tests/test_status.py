"""`kale status` loads each table and lists each folder once, and says of every key what a look at it alone says."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kale_tasks.contract.registry import find, step_spec
from kale_tasks.errors import Conflict
from kale_tasks.ingest import content
from kale_tasks.ingest.pieces import DataFile
from kale_tasks.lake.holds import hold
from kale_tasks.lake.marks import put_mark
from kale_tasks.lake.storage.base import Storage
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.verdicts import BlockedRun, block
from kale_tasks.lake.view import LakeView
from kale_tasks.runner.commit import finish
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import Settings
from kale_tasks.status import all_states, state, states
from tests.ingest.world import ingest, land, land_lines, pair, settings_for

KEYS = [f"k{i}" for i in range(6)]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a lake of six keys: one marked, one held, one blocked, one with changed landing files."""
    tmp_path = tmp_path_factory.mktemp("states")
    settings = settings_for(tmp_path)
    for number, key in enumerate(KEYS):
        land(tmp_path / "landing", [pair(10 * number), pair(10 * number + 1)], key)
        ingest(settings, key)
    lake, ingest_ = Lake(settings), step_spec("ingest")
    put_mark(lake.storage, ingest_.partition("k1"), "later", "for a test")
    hold(lake.storage, ingest_.partition("k2"), "for a test")
    base = lake.committed("pairs", "k3").origin  # type: ignore[union-attr]
    block(lake.storage, BlockedRun("ingest", "pairs", "k3", "pairs/key=k3/f", "f", "s", base, "", {}, ["x"], "now"))
    land(tmp_path / "landing", [pair(99)], "k4")
    return settings


def test_every_state_is_as_that_of_a_key_alone(settings: Settings) -> None:
    lake, step = Lake(settings), find("ingest")
    step.suite = step_spec("ingest").suite
    found = states(LakeView(lake), settings, step, [*KEYS, "none"])
    alone = [state(lake, settings, step, key) for key in [*KEYS, "none"]]
    assert [{**row, "age": None} for row in found] == [{**row, "age": None} for row in alone]
    assert [row["state"] for row in found] == [
        "committed",
        "stale",
        "committed",
        "blocked",
        "stale",
        "committed",
        "missing",
    ]
    shown = {row["key"]: row["state"] for row in all_states(lake, settings) if row["step"] == "ingest"}
    assert shown["k2"] == "held"


def test_more_keys_ask_the_lake_no_more_often(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: Counter[str] = Counter()

    def count(owner: Any, name: str) -> None:
        original = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, **k: (asked.update([name]), original(*a, **k))[1])

    step = find("ingest")
    count(Lake, "_load")
    count(type(step), "config")
    states(LakeView(Lake(settings)), settings, step, KEYS[:1])
    one = dict(asked)
    asked.clear()
    states(LakeView(Lake(settings)), settings, step, KEYS)
    assert dict(asked) == one == {"_load": 1, "config": 1}


def test_landing_files_are_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "_SETTLED", -content._SETTLED)
    settings = settings_for(tmp_path)
    file = land_lines(tmp_path / "landing", [pair(1), pair(2)], "k1")
    ingest(settings, "k1")
    hashed = list[str]()
    original = content.content_of

    def watched(landing: Storage, files: Sequence[DataFile]) -> str:
        hashed.extend(file.path for file in files)
        return original(landing, files)

    monkeypatch.setattr(content, "content_of", watched)
    assert Run(find("ingest"), Lake(settings), settings, "k1").committed
    assert not hashed
    text = file.read_bytes()
    file.write_bytes(text.replace(b"/1.jpg", b"/3.jpg"))  # of the same size
    assert not Run(find("ingest"), Lake(settings), settings, "k1").committed
    assert hashed
    file.write_bytes(text)
    assert Run(find("ingest"), Lake(settings), settings, "k1").committed


def test_a_view_cannot_be_committed_to(settings: Settings) -> None:
    view = LakeView(Lake(settings))
    with pytest.raises(NotImplementedError, match="read only"):
        execute(Run(find("ingest"), view, settings, "k4"))
    with pytest.raises(Conflict, match="Try again"):
        finish(view, find("ingest"), "k4")


def test_a_view_loads_only_what_was_committed_since_the_last_one(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    land(tmp_path / "landing", [pair(0)], "a")
    ingest(settings, "a")
    lake, loaded = Lake(settings, create=False), list[str]()
    load = lake.table
    lake.table = lambda name: loaded.append(name) or load(name)  # type: ignore[method-assign, func-returns-value]

    def keys() -> list[list[str]]:
        view = LakeView(lake)
        return [view.keys(name) for name in ("pairs", "runs")]

    assert [keys(), keys(), loaded] == [[["a"], ["a"]], [["a"], ["a"]], ["pairs", "runs"]]
    land(tmp_path / "landing", [pair(1)], "b")
    ingest(settings, "b")
    assert [keys(), loaded] == [[["a", "b"], ["a", "b"]], ["pairs", "runs"] * 2]
