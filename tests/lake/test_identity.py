"""A lake knows its place: a copy is refused until it is relocated, and never touches its original."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from kale_tasks.errors import BadConfig, BadData
from kale_tasks.lake.identity import LAKE_FILE
from kale_tasks.lake.relocate import relocate
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import Settings
from tests.kale import kale
from tests.lakes import lake_of, lake_sets, settings_of
from tests.steps import Numbers

KEY = "2026-11-01"


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """A folder lake with two snapshots of one key and one of another."""
    lake, settings = lake_of(lake_sets("folder", tmp_path))
    for key, salt in ((KEY, "old "), (KEY, "new "), ("2026-11-02", "")):
        execute(Run(Numbers(50, salt=salt), lake, settings, key))
    return tmp_path / "warehouse"


def copy_of(folder: Path) -> Path:
    target = folder.parent / "copy"
    subprocess.run(["cp", "-a", folder, target], check=True)
    return target


def settings_for(warehouse: Path) -> Settings:
    return settings_of([f"warehouse={warehouse}", "parts.part_rows=10", "parts.chunk_rows=50"])


def files_in(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        str(file.relative_to(folder)): (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns)
        for file in folder.rglob("*")
        if file.is_file()
    }


def rows(lake: Lake) -> list[dict[str, object]]:
    return sorted(lake.arrow("pairs").to_pylist(), key=lambda row: (str(row["key"]), str(row["uid"])))


def test_a_copy_is_refused_with_advice_that_works(original: Path) -> None:
    copy = copy_of(original)
    before, untouched = files_in(copy), files_in(original)
    for command in (["status"], ["maintain"], ["run", "ingest", "--key", KEY], ["pending"], ["doctor"]):
        refused = kale(*command, sets=[f"warehouse={copy}"])
        assert refused.code == 2, command
        assert "kale relocate" in refused.out + refused.err, command
        assert str(original) in refused.out + refused.err, command
    assert files_in(copy) == before
    assert files_in(original) == untouched
    assert kale("relocate", sets=[f"warehouse={copy}"]).code == 0
    assert kale("status", sets=[f"warehouse={copy}"]).code == 0


def test_a_relocated_copy_has_the_rows_and_snapshots_of_its_original(original: Path) -> None:
    copy = copy_of(original)
    relocate(settings_for(copy))
    first = Lake(settings_for(original))
    expected = rows(first), first.partitions("pairs"), first.files("pairs"), first.table("pairs").snapshots()
    identity = first.identity
    shutil.rmtree(original)  # whatever the copy reads from now on is its own
    second = Lake(settings_for(copy))
    assert (rows(second), second.partitions("pairs"), second.files("pairs")) == expected[:3]
    assert [s.snapshot_id for s in second.table("pairs").snapshots()] == [s.snapshot_id for s in expected[3]]
    for snapshot in second.table("pairs").snapshots():
        assert second.table("pairs").scan(snapshot_id=snapshot.snapshot_id).to_arrow().num_rows
    assert second.identity and identity and second.identity.uuid != identity.uuid


def test_relocating_and_writing_a_copy_leaves_the_original_as_it_is(original: Path) -> None:
    copy = copy_of(original)
    untouched = files_in(original)
    settings = settings_for(copy)
    relocate(settings)
    lake = Lake(settings)
    execute(Run(Numbers(50, salt="copy "), lake, settings, KEY))
    assert (
        kale("maintain", sets=[f"warehouse={copy}", "maintenance.keep_days=0", "maintenance.grace_hours=0"]).code == 0
    )
    assert files_in(original) == untouched
    assert {str(row["alt_text"]).split()[0] for row in lake.arrow("pairs", KEY).to_pylist()} == {"copy"}
    assert all(task.file.file_path.startswith(f"{copy}/") for task in lake.table("pairs").scan().plan_files())


def test_maintenance_of_a_relocated_copy_keeps_its_rows(original: Path) -> None:
    copy = copy_of(original)
    before = rows(Lake(settings_for(original)))
    relocate(settings_for(copy))
    shutil.rmtree(original)
    done = kale("maintain", sets=[f"warehouse={copy}", "maintenance.grace_hours=0", "maintenance.run_days=0"])
    assert done.code == 0, done.err
    lake = Lake(settings_for(copy))
    assert rows(lake) == before
    assert {file.path for name in lake.tables() for file in lake.files(name)} <= files_in(copy).keys()


def test_a_relocation_that_was_killed_is_refused_and_can_be_repeated(
    original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyiceberg.catalog.sql import SqlCatalog

    before = rows(Lake(settings_for(original)))
    for method in ("register_table", "drop_table", "rename_table"):
        for call in range(1, 5):
            copy = copy_of(original)
            with monkeypatch.context() as patch:
                _kill_at(patch, SqlCatalog, method, call)
                with pytest.raises(KeyboardInterrupt):
                    relocate(settings_for(copy))
            with pytest.raises(BadConfig, match="kale relocate"):
                Lake(settings_for(copy))
            relocate(settings_for(copy))
            assert rows(Lake(settings_for(copy))) == before
            shutil.rmtree(copy)


def _kill_at(patch: pytest.MonkeyPatch, owner: type, method: str, call: int) -> None:
    real, calls = getattr(owner, method), []

    def killed(*args: object, **kwargs: object) -> object:
        calls.append(method)
        if len(calls) == call:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    patch.setattr(owner, method, killed)


def test_a_moved_lake_is_refused_until_it_is_relocated(original: Path) -> None:
    before = rows(Lake(settings_for(original)))
    moved = original.rename(original.parent / "moved")
    with pytest.raises(BadConfig, match="kale relocate"):
        Lake(settings_for(moved))
    relocate(settings_for(moved))
    assert rows(Lake(settings_for(moved))) == before


def test_a_lake_is_the_same_by_every_path_that_leads_to_it(original: Path) -> None:
    before = rows(Lake(settings_for(original)))
    link = original.parent / "link"
    link.symlink_to(original)
    settings = settings_for(link)
    lake = Lake(settings)
    assert rows(lake) == before
    execute(Run(Numbers(10), lake, settings, "2026-11-03"))
    assert len(Lake(settings_for(original)).keys("pairs")) == 3


def test_an_incomplete_copy_is_not_relocated(original: Path) -> None:
    copy = copy_of(original)
    part = copy / Lake(settings_for(original)).files("pairs")[0].path
    part.unlink()
    with pytest.raises(BadData, match=part.name):
        relocate(settings_for(copy))
    with pytest.raises(BadConfig, match="kale relocate"):
        Lake(settings_for(copy))


def test_a_copy_without_its_catalog_is_not_relocated(original: Path) -> None:
    copy = copy_of(original)
    (copy / "catalog.db").rename(copy / "other.db")
    refused = kale("relocate", sets=[f"warehouse={copy}"])
    assert refused.code == 2
    assert kale("status", sets=[f"warehouse={copy}"]).code == 2


def test_a_catalog_that_the_original_may_use_is_changed_only_when_confirmed(original: Path) -> None:
    copy = copy_of(original)
    sets = [f"warehouse={copy}", f"catalog=sqlite:///{original}/catalog.db"]
    untouched = files_in(original)
    refused = kale("relocate", sets=sets)
    assert refused.code == 2
    assert "--catalog-copied" in refused.complaint
    assert files_in(original) == untouched
    sets[1] = f"catalog=sqlite:///{copy}/catalog.db"
    assert kale("relocate", "--catalog-copied", sets=sets).code == 0
    assert kale("status", sets=sets).code == 0
    assert files_in(original) == untouched


def test_relocating_a_lake_at_its_place_changes_nothing(original: Path) -> None:
    before = files_in(original)
    done = kale("relocate", "--json", sets=[f"warehouse={original}"])
    assert (done.code, done.json["tables"]) == (0, [])
    assert files_in(original) == before


def test_a_lake_of_an_earlier_version_is_read_and_identified_by_the_first_writer(original: Path) -> None:
    (original / LAKE_FILE).unlink()
    assert kale("status", sets=[f"warehouse={original}"]).code == 0
    assert not (original / LAKE_FILE).exists()
    assert kale("maintain", sets=[f"warehouse={original}"]).code == 0
    assert json.loads((original / LAKE_FILE).read_text())["place"] == str(original)


def test_a_copy_of_a_lake_of_an_earlier_version_is_refused_too(original: Path) -> None:
    before = rows(Lake(settings_for(original)))
    (original / LAKE_FILE).unlink()
    copy = copy_of(original)
    for command in (["status"], ["maintain"]):
        refused = kale(*command, sets=[f"warehouse={copy}"])
        assert (refused.code, "kale relocate" in refused.complaint) == (2, True), command
    relocate(settings_for(copy))
    assert rows(Lake(settings_for(copy))) == before


def test_damaged_and_newer_lake_files_are_named(original: Path) -> None:
    found = json.loads((original / LAKE_FILE).read_text())
    (original / LAKE_FILE).write_text(json.dumps({**found, "layout": 99}))
    with pytest.raises(BadConfig, match="newer version"):
        Lake(settings_for(original))
    (original / LAKE_FILE).write_text("{")
    with pytest.raises(BadData, match=LAKE_FILE):
        Lake(settings_for(original))


def test_init_creates_a_lake_and_can_be_repeated(tmp_path: Path) -> None:
    sets = [f"warehouse={tmp_path / 'new'}"]
    first = kale("init", "--json", sets=sets)
    again = kale("init", "--json", sets=sets)
    assert (first.code, again.code) == (0, 0), first.err + again.err
    assert first.json["uuid"] == again.json["uuid"]
    assert (tmp_path / "new" / LAKE_FILE).exists()
    assert kale("status", sets=sets).code == 0


def test_a_missing_lake_is_never_created_by_another_command(tmp_path: Path) -> None:
    typo = tmp_path / "wharehouse"
    for command in (["status"], ["maintain"], ["run", "ingest", "--key", KEY], ["pending"], ["relocate"], ["doctor"]):
        refused = kale(*command, sets=[f"warehouse={typo}"])
        assert refused.code == 2, command
        assert str(typo) in refused.out + refused.err and "kale init" in refused.out + refused.err, command
    assert not typo.exists()
