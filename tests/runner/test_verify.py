"""Damage is found by `kale verify`, which names file and run, and healed by `kale repair`."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kale_tasks.contract import registry as steps
from kale_tasks.errors import BadData
from kale_tasks.lake.parts import read_columns
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.leftovers import delete_leftovers, leftovers
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.runner.verify import verify
from tests.kale import kale
from tests.lakes import lake_of, lake_sets, settings_of
from tests.steps import Numbers

KEY, OTHER = "2026-11-01", "2026-11-02"


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A lake with two keys of the small test step."""
    monkeypatch.setitem(
        steps.STEPS, "ingest", replace(steps.STEPS["ingest"], reference="tests.steps:Numbers", suite=None)
    )
    sets = lake_sets("folder", tmp_path)
    lake, settings = lake_of(sets)
    for key in (KEY, OTHER):
        execute(Run(Numbers(), lake, settings, key))
    yield sets


def part(sets: list[str], table: str = "pairs") -> Path:
    lake = Lake(settings_of(sets))
    return Path(lake.storage.root, lake.files(table, KEY)[0].path)


def flip(path: Path, at: int = -200) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:99])


def test_an_intact_lake_is_verified_completely(sets: list[str]) -> None:
    lake = Lake(settings_of(sets))
    delete_leftovers(lake, leftovers(lake, timedelta(days=-1)))
    files = {e.path for e in lake.storage.entries("") if e.path.endswith(".parquet")}
    found = verify(lake)
    assert (found.files, found.damaged) == (len(files), [])
    assert kale("verify", sets=sets).code == 0


@pytest.mark.parametrize(
    ("table", "damage", "problem"),
    [
        ("pairs", flip, "has other bytes"),
        ("pairs", Path.unlink, "is missing"),
        ("dedup_index", cut, "has 99 bytes instead of"),
        ("quarantine", flip, "has other bytes"),
        ("runs", Path.unlink, "is missing"),
    ],
)
def test_a_damaged_file_is_named_and_repaired(sets: list[str], table: str, damage: object, problem: str) -> None:
    lake = Lake(settings_of(sets))
    before = {name: lake.arrow(name, KEY) for name in ("pairs", "dedup_index", "quarantine")}
    path, run = part(sets, table), lake.committed("pairs", KEY)
    damage(path)  # type: ignore[operator]
    answer = kale("verify", "--json", sets=sets)
    (found,) = answer.json["damaged"]
    assert (answer.code, found["key"], found["step"], found["table"]) == (3, KEY, "ingest", table)
    assert str(path).endswith(found["path"]) and found["run"] == (run and run.fingerprint)
    assert problem in found["problem"] and "kale repair --key 2026-11-01" in answer.complaint
    assert kale("verify", "--key", OTHER, sets=sets).code == 0
    assert kale("repair", "--key", KEY, sets=sets).code == 0
    assert kale("verify", sets=sets).code == 0
    assert all(lake.arrow(name, KEY).sort_by("uid") == rows.sort_by("uid") for name, rows in before.items())


def test_a_repair_with_nothing_damaged_makes_nothing(sets: list[str]) -> None:
    assert kale("repair", "--json", sets=sets).json == {"damaged": [], "made": {}, "left": {}}


def test_a_missing_account_of_a_run_is_found_and_made_again(sets: list[str]) -> None:
    lake = Lake(settings_of(sets))
    run = lake.committed("pairs", KEY)
    assert run
    lake.storage.delete(f"pairs/key={KEY}/{run.fingerprint}/run.json")
    assert {damage.problem for damage in verify(lake).damaged} == {"is missing"}
    assert kale("repair", sets=sets).code == 0
    assert verify(lake).damaged == []


def test_damaged_files_are_kept_aside(sets: list[str]) -> None:
    path = part(sets)
    flip(path)
    damaged = path.read_bytes()
    kale("repair", sets=sets)
    lake = Lake(settings_of(sets))
    assert lake.storage.read(f"damaged/{lake.storage.relative(str(path))}") == damaged


def test_a_sample_reads_a_share_of_the_files(sets: list[str]) -> None:
    lake = Lake(settings_of(sets))
    assert 0 < verify(lake, sample=0.5).files < verify(lake).files
    assert verify(lake, sample=0).files == 0


def test_no_flipped_bit_is_read_as_another_row(sets: list[str]) -> None:
    path, lake = part(sets), Lake(settings_of(sets))
    name, intact = lake.storage.relative(str(path)), path.read_bytes()
    rows, refused = read_columns(lake.storage, name, TABLES["pairs"].arrow), 0
    for at in range(4, pq.read_metadata(path).row_group(0).column(0).total_compressed_size, 3):
        flip(path, at)
        try:
            assert read_columns(lake.storage, name, TABLES["pairs"].arrow) == rows  # of a byte that means nothing
        except (OSError, pa.ArrowInvalid):
            refused += 1
        path.write_bytes(intact)
    assert refused > 20


def test_no_flipped_bit_is_read_as_another_row_of_a_table(sets: list[str]) -> None:
    path, lake = part(sets), Lake(settings_of(sets))
    intact, refused = path.read_bytes(), 0
    known = lake.arrow("pairs", KEY).to_pylist()
    assert known == [row for batch in lake.batches("pairs", KEY) for row in batch.to_pylist()]
    pages = len(intact) - 8 - pq.read_metadata(path).serialized_size  # what follows has no checksum
    for at in range(4, pages, 11):
        flip(path, at)
        try:
            assert lake.arrow("pairs", KEY).to_pylist() == known, at
        except BadData:
            refused += 1
        path.write_bytes(intact)
    assert refused > 20
