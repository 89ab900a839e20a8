"""A takedown holds for what it names, by every identity and in every key; other copies may return."""

import json
from pathlib import Path

import pytest

from kale_tasks.ingest.step import Ingest
from kale_tasks.lake.tables import Lake
from kale_tasks.progress import Silent
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import Settings
from kale_tasks.status import state
from kale_tasks.takedown.sweep import rewritten_steps, take_down
from tests.lakes import lake_of, lake_sets

FIRST, SECOND, THIRD = "2026-11-01", "2026-11-02", "2026-11-03"
URL, SHA256 = "https://photos.example.org/tower.jpg", "ab" * 32
OFF = ["ingest.rules.languages=[]", "ingest.workers=1", "ingest.lists.evaluation=null", "ingest.dedup.near=false"]
Opened = tuple[Lake, Settings]


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    """A lake whose second key has a copy (same URL and bytes, another uid) of a row of the first key."""
    opened = lake_of([*lake_sets("folder", tmp_path), *OFF])
    land(opened, FIRST, ["a" * 32, "e" * 32])
    land(opened, SECOND, ["b" * 32, "c" * 32])
    for key in (FIRST, SECOND):
        execute(Run(Ingest(), *opened, key))
    assert (uids(opened, FIRST), uids(opened, SECOND)) == (["a" * 32, "e" * 32], ["c" * 32])
    return opened


def land(opened: Opened, key: str, names: list[str]) -> None:
    """Deliver rows; those named a, b and d have the same image."""
    folder = Path(opened[1].landing, key)
    folder.mkdir(parents=True)
    rows = [
        {"uid": name, "url": URL, "sha256": SHA256, "text": f"A tall old tower {name[0]} at the harbour of the town"}
        if name[0] in {"a", "b", "d"}
        else {
            "uid": name,
            "url": f"https://other.example.org/{name}.jpg",
            "text": f"Some other text {name[0]} of a boat",
        }
        for name in names
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def uids(opened: Opened, key: str) -> list[str]:
    """Return the uids of a key."""
    return sorted(opened[0].arrow("pairs", key, ["uid"])["uid"].to_pylist())


def take(opened: Opened, **request: list[str]) -> None:
    """Take rows down."""
    take_down(*opened, request, rewritten_steps(opened[0]), Silent())


def again(opened: Opened, key: str) -> None:
    """Make a key again."""
    execute(Run(Ingest(), *opened, key, again="request"))


@pytest.mark.parametrize("request_", [{"url": [URL]}, {"sha256": [SHA256]}, {"host": ["example.org"]}])
def test_copies_of_what_is_named_stay_out_of_every_key_now_and_later(
    opened: Opened, request_: dict[str, list[str]]
) -> None:
    take(opened, **request_)
    again(opened, FIRST)
    again(opened, SECOND)
    land(opened, THIRD, ["d" * 32])
    assert execute(Run(Ingest(), *opened, THIRD)).dropped == {"takedown": 1}
    kept = {*uids(opened, FIRST), *uids(opened, SECOND), *uids(opened, THIRD)}
    assert not kept & {"a" * 32, "b" * 32, "d" * 32}


def test_a_copy_that_is_not_named_takes_no_place_until_its_key_is_made_again(opened: Opened) -> None:
    take(opened, uid=["a" * 32])
    assert uids(opened, FIRST) == ["e" * 32]
    assert state(*opened, Ingest(), SECOND)["state"] == "committed"  # a takedown makes nothing stale
    assert uids(opened, SECOND) == ["c" * 32]
    again(opened, SECOND)
    assert uids(opened, SECOND) == ["b" * 32, "c" * 32]  # another row, which nobody named
    again(opened, FIRST)
    assert uids(opened, FIRST) == ["e" * 32]


def test_naming_the_url_as_well_takes_the_copy_down(opened: Opened) -> None:
    take(opened, uid=["a" * 32])
    again(opened, SECOND)
    take(opened, url=[URL])
    again(opened, SECOND)
    assert uids(opened, SECOND) == ["c" * 32]


def test_what_another_key_lost_to_the_removed_row_stays_in_its_index_until_it_is_made_again(opened: Opened) -> None:
    """Such an entry has hashes and a uid of a row that the key never had, and the key that kept the row."""

    def lost() -> set[str]:
        return set(opened[0].arrow("dedup_index", SECOND, ["uid"], "owner is not null")["uid"].to_pylist())

    take(opened, url=[URL])
    assert lost() == {"b" * 32}
    assert state(*opened, Ingest(), SECOND)["state"] == "committed"
    again(opened, SECOND)
    assert lost() == set()
    assert opened[0].committed("pairs", SECOND).dropped == {"takedown": 1}  # type: ignore[union-attr]
