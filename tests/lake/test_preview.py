"""A preview: runs on a few rows that read the real lake, never change it, and are never released."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from kale_tasks.contract.step import Input, Step, committed_input, part_span, row_chunks
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.errors import BadConfig
from kale_tasks.lake.preview import PreviewLake, delete_preview, expired_previews, open_lake, preview_names
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Lake
from kale_tasks.release.step import Release
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import Settings
from tests.kale import kale
from tests.lakes import KINDS, lake_sets, settings_of
from tests.steps import Numbers

KEY, OTHER = "2026-11-01", "2026-11-02"
DENSE = "dense-0123456789ab"


class Dense(Step):
    """Copies the texts of `pairs` to `texts`."""

    name, table, slice = DENSE, "texts", {"pass": DENSE}

    def config(self, settings: Settings) -> Mapping[str, Any]:
        return {"limit": settings.limit, **settings.parts.semantic()}

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        return {"pairs": committed_input(lake, "pairs", key)}

    def chunks(self, run: Run) -> Sequence[Chunk]:
        return row_chunks(run.settings, run.rows("pairs").count)

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part]:
        for number in numbers:
            rows = run.rows("pairs").read(*part_span(run.settings, chunk, number), ["uid"]).to_pylist()
            known = {"key": run.key, "text": "A bridge.", "pass": DENSE, "item": "", "n": 0}
            made = [{"uid": row["uid"], **known} for row in rows]
            yield Part(number, pa.Table.from_pylist(made, schema=TABLES["texts"].arrow), len(made))


@pytest.fixture(params=KINDS)
def sets(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """A lake with two keys of pairs."""
    sets = lake_sets(request.param, tmp_path, request)
    settings = settings_of(sets)
    for key in (KEY, OTHER):
        execute(Run(Numbers(50), Lake(settings), settings, key))
    return sets


def preview_of(sets: list[str], *more: str) -> tuple[PreviewLake, Settings]:
    settings = settings_of([*sets, *more])
    lake = open_lake(settings)
    assert isinstance(lake, PreviewLake)
    lake.identify()
    return lake, settings


def contents(lake: Lake) -> dict[str, Any]:
    """All files of the real lake, except previews, and what its tables have committed."""
    files = {e.path: e.size for e in lake.storage.entries("") if not e.path.startswith((".preview/", "catalog.db"))}
    return {"files": files, **{name: lake.partitions(name) for name in lake.tables()}}


@pytest.mark.any_store
def test_a_preview_changes_nothing_in_the_real_lake_and_feeds_its_next_steps(sets: list[str]) -> None:
    real = Lake(settings_of(sets))
    before = contents(real)
    lake, settings = preview_of(sets, "limit=10")
    assert execute(Run(Numbers(50, salt="other "), lake, settings, KEY)).rows == 8
    assert execute(Run(Dense(), lake, settings, KEY)).rows == 8
    assert contents(real) == before
    assert lake.arrow("texts", KEY).num_rows == 8
    assert set(lake.arrow("pairs", KEY)["alt_text"].to_pylist()) < {f"other {n}" for n in range(10)}


@pytest.mark.any_store
def test_a_preview_reads_what_it_has_not_made_from_the_real_lake(sets: list[str]) -> None:
    real = Lake(settings_of(sets))
    lake, settings = preview_of(sets, "limit=10")
    execute(Run(Numbers(50, salt="other "), lake, settings, KEY))
    assert lake.arrow("pairs", OTHER).equals(real.arrow("pairs", OTHER))
    assert lake.arrow("pairs").num_rows == 8 + real.arrow("pairs", OTHER).num_rows
    assert [p.key for p in lake.partitions("pairs")] == [KEY, OTHER]
    assert {p.key: s.count for p, s in Snapshot.open_all(lake, "pairs").items()} == {
        KEY: 8,
        OTHER: real.arrow("pairs", OTHER).num_rows,
    }
    paths = [file.path for file in lake.files("pairs")]
    assert ds.dataset(paths, TABLES["pairs"].arrow, "parquet", lake.storage.arrow).count_rows() == sum(
        file.rows for file in lake.files("pairs")
    )
    assert lake.duckdb(["pairs"]).sql("SELECT count(*) FROM pairs").fetchall() == [(lake.arrow("pairs").num_rows,)]


@pytest.mark.any_store
def test_a_second_run_in_a_preview_replaces_the_first(sets: list[str]) -> None:
    for limit in (10, 20, 20):
        lake, settings = preview_of(sets, f"limit={limit}")
        execute(Run(Dense(), lake, settings, KEY))
        assert lake.arrow("texts", KEY).num_rows == limit
    assert lake.arrow("runs", KEY).num_rows > Lake(settings_of(sets)).arrow("runs", KEY).num_rows


@pytest.mark.any_store
def test_a_limit_never_reaches_the_real_lake(sets: list[str]) -> None:
    settings = settings_of([*sets, "limit=10"])
    with pytest.raises(BadConfig, match="in a preview only"):
        Run(Dense(), Lake(settings), settings, KEY)


@pytest.mark.any_store
def test_a_preview_is_never_released(sets: list[str]) -> None:
    lake, settings = preview_of(sets, "preview=mine")
    with pytest.raises(BadConfig, match="does not work in a preview"):
        Run(Release(), lake, settings, "all")


@pytest.mark.parametrize("command", [("publish", "--key", "all"), ("maintain",), ("takedown", "--end", "0" * 20)])
def test_commands_for_the_real_lake_refuse_a_preview(tmp_path: Path, command: Sequence[str]) -> None:
    sets = lake_sets("folder", tmp_path)
    answer = kale(*command, sets=[*sets, "limit=10"])
    assert (answer.code, "does not work in a preview" in answer.complaint) == (2, True)


@pytest.mark.any_store
def test_reading_a_preview_that_does_not_exist_names_those_that_do(sets: list[str]) -> None:
    preview_of(sets, "preview=mine")
    answer = kale("show", "pairs", "--key", KEY, "--preview", "other", sets=sets)
    assert (answer.code, "(previews: mine)" in answer.complaint) == (2, True)


@pytest.mark.any_store
def test_previews_expire_and_leave_nothing(sets: list[str], tmp_path: Path) -> None:
    lake, settings = preview_of(sets, "limit=10")
    execute(Run(Dense(), lake, settings, KEY))
    real = Lake(settings_of(sets))
    before = contents(real)
    assert expired_previews(real, timedelta(days=1)) == []
    time.sleep(1)  # times of a store are in seconds
    assert expired_previews(real, timedelta(0)) == ["default"]
    delete_preview(real.catalog, real.storage, "default")
    assert (preview_names(real.catalog), list(real.storage.entries(".preview"))) == ([], [])
    assert contents(real) == before
    lake, settings = preview_of(sets, "limit=10")
    assert execute(Run(Dense(), lake, settings, KEY)).rows == 10


def test_maintenance_deletes_previews_after_the_setting_says_so(tmp_path: Path) -> None:
    sets = lake_sets("folder", tmp_path)
    preview_of(sets, "preview=mine")
    assert kale("maintain", "--json", sets=sets).json["previews"] == []
    for file in (tmp_path / "warehouse" / ".preview").rglob("*"):
        os.utime(file, (0, 0))
    assert kale("maintain", "--json", sets=sets).json["previews"] == ["mine"]
    assert not [f for f in (tmp_path / "warehouse" / ".preview").rglob("*") if f.is_file()]
