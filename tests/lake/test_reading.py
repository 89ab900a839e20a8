"""What readers get: pinned rows by number and by uid, columns of older files, DuckDB."""

import pytest

from kale_tasks.lake import schemas
from kale_tasks.lake.columns import STRING, Column, TableSpec
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import Settings
from tests.lakes import lake_of
from tests.steps import Numbers

KEY = "2026-11-01"
PAIRS = Partition("pairs", KEY)
Opened = tuple[Lake, Settings]


@pytest.mark.any_store
def test_rows_are_numbered_in_uid_order(lake: Opened) -> None:
    run = Run(Numbers(100), *lake, KEY)
    execute(run)
    rows = Snapshot.open(run.lake, PAIRS)
    everything = rows.read(0, rows.count, ["uid"])["uid"].to_pylist()
    assert everything == sorted(everything)
    assert rows.read(7, 25, ["uid"])["uid"].to_pylist() == everything[7:25]
    assert rows.read(rows.count, rows.count + 5).num_rows == 0


@pytest.mark.any_store
def test_rows_between_two_uids_are_found_across_files(lake: Opened) -> None:
    run = Run(Numbers(100), *lake, KEY)
    execute(run)
    rows = Snapshot.open(run.lake, PAIRS)
    everything = rows.read(0, rows.count, ["uid"])["uid"].to_pylist()
    found = rows.between(everything[5], everything[40], ["text"])
    assert found["uid"].to_pylist() == everything[5:41]
    assert rows.between("f" * 32, "f" * 32).num_rows == 0


@pytest.mark.any_store
def test_a_reader_keeps_its_rows_while_the_key_is_replaced(lake: Opened) -> None:
    run = Run(Numbers(50, salt="old "), *lake, KEY)
    execute(run)
    rows = Snapshot.open(run.lake, PAIRS)
    execute(Run(Numbers(50, salt="new "), *lake, KEY))
    assert all(text.startswith("old ") for text in rows.read(0, 50)["alt_text"].to_pylist())


@pytest.mark.any_store
def test_batches_push_columns_and_filter_down(lake: Opened) -> None:
    execute(Run(Numbers(100), *lake, KEY))
    batches = list(lake[0].batches("pairs", KEY, ["text"], f"uid >= '{50:032x}'"))
    assert {name for b in batches for name in b.schema.names} == {"text"}
    assert all(int(t) >= 50 for b in batches for t in b["text"].to_pylist())


@pytest.mark.any_store
def test_duckdb_counts_what_was_committed(lake: Opened) -> None:
    committed = execute(Run(Numbers(100), *lake, KEY))
    found = lake[0].duckdb(["pairs"]).sql("select count(*), count(distinct uid) from pairs").fetchall()
    assert found == [(committed.rows, committed.rows)]


@pytest.mark.any_store
def test_a_lake_of_an_older_version_gains_new_columns(lake: Opened, sets: list[str], monkeypatch) -> None:
    old = execute(Run(Numbers(50), *lake, KEY))
    newer = TableSpec("pairs", "a kept pair", [*schemas.PAIRS.columns, Column("added", STRING, "New.")])
    monkeypatch.setitem(schemas.TABLES, "pairs", newer)
    reopened = lake_of(sets)
    assert reopened[0].arrow("pairs", KEY)["added"].null_count == old.rows
    assert Snapshot.open(reopened[0], PAIRS).read(0, 5, ["added"])["added"].null_count == 5
    execute(Run(Numbers(20), *reopened, "2026-11-02"))
    assert reopened[0].arrow("pairs").num_rows == old.rows + 16
