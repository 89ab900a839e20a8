"""Lists are known by what is in them: where they are decides nothing."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kale_tasks.ingest.step import Ingest
from kale_tasks.lake.tables import Lake
from kale_tasks.resources import resource
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import plan, reopen
from kale_tasks.settings import Settings
from tests.ingest.world import KEY, ingest, land, pair, settings_for


def words(path: Path) -> None:
    path.write_text("gruesome\n")


def domains(path: Path) -> None:
    path.write_text("blocked.example\n")


def patterns(path: Path) -> None:
    path.write_bytes(resource("config/ingest/patterns.yaml").read_bytes())


def evaluation(path: Path) -> None:
    path.mkdir()
    pq.write_table(pa.table({"url": [pair(7)["url"]]}), path / "items.parquet")


LISTS = {"nsfw": words, "domains": domains, "patterns": patterns, "evaluation": evaluation}
Write = Callable[[Path], None]


def settings_of_list(folder: Path, name: str, place: Path | str) -> Settings:
    return settings_for(folder, f"ingest.lists.{name}={place}")


def run_of(settings: Settings) -> Run:
    return Run(Ingest(), Lake(settings), settings, KEY)


@pytest.mark.parametrize(("name", "write"), LISTS.items(), ids=LISTS)
def test_a_list_that_is_moved_leaves_the_rows_current(name: str, write: Write, tmp_path: Path) -> None:
    land(tmp_path / "landing", [pair(n) for n in range(9)])
    write(tmp_path / "here")
    ingest(settings_of_list(tmp_path, name, tmp_path / "here"))
    (tmp_path / "here").rename(tmp_path / "there")
    moved = settings_of_list(tmp_path, name, tmp_path / "there")
    assert run_of(moved).committed
    if name != "patterns":
        assert not run_of(settings_of_list(tmp_path, name, "null")).committed


def test_other_entries_make_rows_stale(tmp_path: Path) -> None:
    land(tmp_path / "landing", [pair(n) for n in range(9)])
    words(tmp_path / "words")
    settings = settings_of_list(tmp_path, "nsfw", tmp_path / "words")
    ingest(settings)
    (tmp_path / "words").write_text("gruesome\nhorrid\n")
    assert not run_of(settings).committed


def test_the_shipped_list_at_another_path_is_the_shipped_list(tmp_path: Path) -> None:
    land(tmp_path / "landing", [pair(n) for n in range(9)])
    ingest(settings_for(tmp_path))
    patterns(tmp_path / "mine.yaml")
    assert run_of(settings_of_list(tmp_path, "patterns", tmp_path / "mine.yaml")).committed


def test_a_run_that_is_planned_goes_on_after_its_list_was_moved(tmp_path: Path) -> None:
    land(tmp_path / "landing", [pair(1), pair(2, text="A gruesome view of the castle of Bodegon by the river")])
    words(tmp_path / "here")
    before = settings_of_list(tmp_path, "nsfw", tmp_path / "here")
    plan(Run(Ingest(), Lake(before), before, KEY))
    (tmp_path / "here").rename(tmp_path / "there")
    after = settings_of_list(tmp_path, "nsfw", tmp_path / "there")
    made = plan(run_of(after))
    reopened, _ = reopen(Ingest(), Lake(after), after, (KEY, made.fingerprint, made.base))
    assert reopened.settings.ingest.lists.nsfw == str(tmp_path / "there")
    (committed,) = ingest(after)
    assert committed.fingerprint == made.fingerprint and committed.dropped == {"nsfw": 1}
