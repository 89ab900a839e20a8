"""Keys committed in any order: entries belong to the earlier key, and only keys whose rows may change are named."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from kale_tasks.contract.registry import STEPS
from kale_tasks.errors import BadData, Conflict
from kale_tasks.ingest.step import Ingest
from kale_tasks.lake.index import INDEX, keys_touched
from kale_tasks.lake.maintain import expire
from kale_tasks.lake.marks import marks
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Lake
from kale_tasks.progress import Silent
from kale_tasks.runner.repair import repair
from kale_tasks.runner.run import Run
from kale_tasks.runner.seal import read_sealed, seal
from kale_tasks.runner.verbs import commit, plan, reopen, work
from kale_tasks.settings import Settings
from tests.ingest.world import ingest, kept, land, pair, settings_for

TEXT = "The old stone bridge over the river Neretva in Mostar, rebuilt by divers and masons after the war"


def index_of(settings: Settings, key: str) -> Snapshot | None:
    """Open the index of a key, or return None."""
    return Snapshot.open_all(Lake(settings), INDEX).get(Partition.of(INDEX, key))


def marked(settings: Settings) -> set[tuple[str, str]]:
    """Return key and name of every mark that no committed run has answered."""
    lake = Lake(settings)
    return {
        (partition.key, mark.name)
        for partition, committed in lake.partitions("pairs").items()
        for mark in marks(lake.storage, partition)
        if mark.name not in committed.because
    }


def touched(settings: Settings, key: str) -> set[str]:
    """Ingest a key and return the keys that this commit marks."""
    before = marked(settings)
    ingest(settings, key)
    return {name for name, _ in marked(settings) - before}


def owners(settings: Settings, key: str) -> set[tuple[str, str]]:
    """Return kind and owner of the entries that a key lost."""
    return {(r["kind"], r["owner"]) for r in Lake(settings).arrow(INDEX, key).to_pylist() if r["owner"]}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a landing with four keys that repeat each other in every way, and one that repeats nothing."""
    landing = tmp_path / "landing"
    land(landing, [pair(1, sha256="aa" * 32), pair(2), pair(3, text=TEXT), pair(4)], "k1")
    land(landing, [pair(1, text="New words for a known address"), pair(12, sha256="aa" * 32), pair(2), pair(20)], "k2")
    land(landing, [pair(13, text=f"{TEXT} !"), pair(20), pair(30)], "k3")
    land(landing, [pair(40), pair(41)], "k4")
    return settings_for(tmp_path)


def test_lost_entries_name_the_earlier_key_that_keeps_them(settings: Settings) -> None:
    ingest(settings, "k1", "k2", "k3", "k4")
    assert owners(settings, "k2") == {("uid", "k1"), ("url", "k1"), ("sha256", "k1")}
    assert {owner for kind, owner in owners(settings, "k3") if kind == "uid"} == {"k2"}
    assert {owner for kind, owner in owners(settings, "k3") if kind != "uid"} == {"k1"}
    assert owners(settings, "k1") == owners(settings, "k4") == set()


def test_a_late_key_touches_only_later_keys_that_keep_what_it_keeps(settings: Settings) -> None:
    ingest(settings, "k1", "k3", "k4")
    assert touched(settings, "k2") == {"k3"}


def test_a_key_that_loses_rows_touches_the_keys_that_had_lost_to_them(settings: Settings, tmp_path: Path) -> None:
    ingest(settings, "k1", "k2", "k3", "k4")
    land(tmp_path / "landing", [pair(1, sha256="aa" * 32), pair(2), pair(4)], "k1")
    assert touched(settings, "k1") == {"k3"}
    land(tmp_path / "landing", [pair(1, sha256="aa" * 32), pair(4)], "k1")
    assert touched(settings, "k1") == {"k2"}


def test_other_rows_in_other_places_touch_nobody(settings: Settings, tmp_path: Path) -> None:
    ingest(settings, "k1", "k2", "k3", "k4")
    land(tmp_path / "landing", [pair(99)], "k1", name="later")
    assert touched(settings, "k1") == set()
    same = index_of(settings, "k1")
    assert keys_touched("k1", same, same, {}) == set()


_OTHER_ORDERS = [("k2", "k3", "k1"), ("k1", "k3", "k2"), ("k3", "k1", "k2")]


@pytest.mark.parametrize(
    "order", [("k3", "k2", "k1"), *(pytest.param(order, marks=pytest.mark.nightly) for order in _OTHER_ORDERS)]
)
def test_any_order_ends_in_the_same_rows_once_touched_keys_are_made_again(
    settings: Settings, tmp_path: Path, order: tuple[str, ...]
) -> None:
    straight = [c.content for c in ingest(settings, "k1", "k2", "k3")]
    other = settings_for(tmp_path, f"warehouse={tmp_path / 'other'}")
    stale: set[str] = set()
    for key in order:
        stale |= touched(other, key)
    while stale:
        first = min(stale)
        stale.remove(first)
        stale |= touched(other, first)
    committed = Lake(other).partitions("pairs")
    assert [c.content for c in committed.values()] == straight


def test_rows_that_a_key_drops_itself_do_not_depend_on_earlier_keys(tmp_path: Path) -> None:
    later = [pair(1, text=TEXT, similarity=0.9), pair(2, text=f"{TEXT}!", similarity=0.1)]
    land(tmp_path / "landing", later, "k2")
    settings = settings_for(tmp_path)
    ingest(settings, "k2")
    alone = kept(settings, "k2")
    land(tmp_path / "landing", [pair(2, text="Other words for the address of the second row")], "k1")
    assert touched(settings, "k1") == set()  # the row with this address was no entry of k2
    ingest(settings, "k2")
    assert kept(settings, "k2") == alone and alone[0]["dup_count"] == 2


@pytest.mark.parametrize("order", [("k1", "k2"), ("k2", "k1")])
def test_of_two_keys_that_are_ingested_at_once_the_later_is_marked(
    settings: Settings, tmp_path: Path, order: tuple[str, str]
) -> None:
    straight = [committed.content for committed in ingest(settings, "k1", "k2")]
    other = settings_for(tmp_path, f"warehouse={tmp_path / 'other'}")
    runs = {key: Run(Ingest(), Lake(other), other, key) for key in order}
    plans = {key: plan(run) for key, run in runs.items()}
    for key, run in runs.items():
        work(run, plans[key].chunks[0])
    for key in order:  # neither saw the other when it was planned
        commit(runs[key], plans[key])
    assert {key for key, _ in marked(other)} == {"k2"}
    ingest(other, "k2")
    assert not marked(other)
    assert [committed.content for committed in Lake(other).partitions("pairs").values()] == straight


def test_a_plan_reads_the_index_as_it_was_and_names_no_file_of_it(settings: Settings) -> None:
    ingest(settings, "k1")
    lake = Lake(settings)
    run = Run(Ingest(), lake, settings, "k3")
    made = plan(run)
    assert made.side_snapshot and INDEX not in lake.storage.read(f"{run.folder}/plan.json").decode()
    ingest(settings, "k2")
    later, _ = reopen(Ingest(), Lake(settings), settings, ("k3", made.fingerprint, made.base))
    assert {name: found.committed.fingerprint for name, found in later.side_inputs.items()} == {
        "k1": lake.committed("pairs", "k1").fingerprint  # type: ignore[union-attr]
    }
    assert plan(Run(Ingest(), Lake(settings), settings, "k3")).side_snapshot == made.side_snapshot
    work(later, made.chunks[0])
    again, _ = reopen(Ingest(), Lake(settings), settings, ("k3", made.fingerprint, made.base))
    assert seal(again, made).side_inputs.keys() == {"k1"}  # as its checks would
    assert "side_inputs" not in vars(again), "to name the runs of earlier keys, none is opened"
    assert {owner for kind, owner in owners_of_sealed(later) if kind == "uid"} == set(), "k2 was not there yet"


def test_a_plan_whose_snapshot_of_the_index_has_expired_is_made_again(settings: Settings) -> None:
    ingest(settings, "k1")
    made = plan(Run(Ingest(), Lake(settings), settings, "k3"))
    ingest(settings, "k2")
    expire(Lake(settings), timedelta(days=1))
    assert plan(Run(Ingest(), Lake(settings), settings, "k3")).side_snapshot == made.side_snapshot
    expire(Lake(settings), timedelta(seconds=-5))
    late, _ = reopen(Ingest(), Lake(settings), settings, ("k3", made.fingerprint, made.base))
    with pytest.raises(Conflict, match=r"dedup_index .* is gone since\. Plan again\."):
        work(late, made.chunks[0])
    again = plan(Run(Ingest(), Lake(settings), settings, "k3"))
    assert again.fingerprint == made.fingerprint and again.side_snapshot not in (None, made.side_snapshot)


def owners_of_sealed(run: Run) -> set[tuple[str, str]]:
    """Return kind and owner of the entries that a sealed run lost."""
    sealed = read_sealed(run.lake.storage, run.folder)
    assert sealed
    found = sealed.snapshot(run.lake.storage, Partition.of(INDEX, run.key)).read(0, 100).to_pylist()
    return {(row["kind"], row["owner"]) for row in found if row["owner"]}


def test_a_damaged_index_of_an_earlier_key_is_named_and_the_advice_works(settings: Settings) -> None:
    ingest(settings, "k1")
    lake, index = Lake(settings), index_of(settings, "k1")
    assert index
    path = index.files[0].path
    lake.storage.put(path, lake.storage.read(path)[:-40])
    with pytest.raises(BadData, match=f"{path} is damaged: .* Run `kale repair --key k1`"):
        ingest(settings, "k2")
    assert repair(lake, settings, Silent(), key="k1", specs=[replace(STEPS["ingest"], suite=None)]).left == {}
    ingest(settings, "k2")
    assert owners(settings, "k2") == {("uid", "k1"), ("url", "k1"), ("sha256", "k1")}
