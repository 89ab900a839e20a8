"""Everything that reads the landing area sees the same files, and none of it sees hidden ones."""

from pathlib import Path

import pytest

from kale_tasks.airflow.sensor import list_landing
from kale_tasks.errors import BadConfig
from kale_tasks.ingest.pieces import data_files
from kale_tasks.lake.archives import archive_files
from kale_tasks.lake.landing import is_hidden, landing_files, landing_keys
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.lake.tables import Lake
from kale_tasks.settings import Settings, load

KEY = "2026-11-01"
FINISHED = ["00000.parquet", "day/00001.parquet", "day/shards/00002.tar"]
HIDDEN = [
    "_SUCCESS",
    "_temporary/0/part-0.parquet",
    "_temporary/0/part-0.tar",
    "day/_temporary/part-0.jsonl",
    "day/.ipynb_checkpoints/00001.parquet",
    ".00000.parquet.crc",
    ".ipynb_checkpoints/00003.tar",
]


@pytest.fixture
def landed(tmp_path: Path) -> Settings:
    """Settings whose landing area holds finished and hidden files of one key, and hidden folders beside the key."""
    for name in [f"{KEY}/{path}" for path in FINISHED + HIDDEN] + ["_eval/items.parquet", ".cache/x.parquet"]:
        path = tmp_path / "landing" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return load([f"landing={tmp_path / 'landing'}", f"warehouse={tmp_path / 'lake'}"], environ={}).settings


def test_a_file_is_hidden_by_any_component_of_its_path() -> None:
    assert [path for path in HIDDEN if not is_hidden(f"{KEY}/{path}")] == []
    assert [path for path in FINISHED if is_hidden(f"{KEY}/{path}")] == []


def test_sensor_ingest_and_image_adoption_see_the_same_files(landed: Settings) -> None:
    finished = [f"{KEY}/{path}" for path in FINISHED]
    seen_by_sensor, complete = list_landing(KEY, {"KALE_LANDING": landed.landing})
    assert [entry.path for entry in landing_files(landed, KEY)] == finished
    assert (sorted(seen_by_sensor), complete) == (finished, True)
    assert [file.path for file in data_files(landed, KEY)] == finished
    assert [entry.path for entry in archive_files(Lake(landed), KEY)] == finished[2:]


def test_hidden_folders_are_not_keys(landed: Settings) -> None:
    assert landing_keys(landed) == [KEY]
    with pytest.raises(BadConfig, match="cannot be a key"):
        landing_files(landed, "_eval")


def link(folder: str | Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(folder, target_is_directory=True)


def test_linked_keys_and_linked_folders_of_a_key_are_seen_by_all(landed: Settings, tmp_path: Path) -> None:
    landing, elsewhere = tmp_path / "landing", tmp_path / "elsewhere"
    for name in ("00000.parquet", "more/00001.tar", "_temporary/00002.parquet"):
        (elsewhere / name).parent.mkdir(parents=True, exist_ok=True)
        (elsewhere / name).write_bytes(b"")
    link(elsewhere, landing / "linked")
    link(Path("../../elsewhere"), landing / "k1/sub")
    link(elsewhere, landing / "_hidden")
    assert landing_keys(landed) == [KEY, "k1", "linked"]
    for key, folder in (("linked", "linked"), ("k1", "k1/sub")):
        files = [f"{folder}/00000.parquet", f"{folder}/more/00001.tar"]
        assert [entry.path for entry in landing_files(landed, key)] == files
        assert sorted(list_landing(key, {"KALE_LANDING": landed.landing})[0]) == files
        assert [file.path for file in data_files(landed, key)] == files
        assert [entry.path for entry in archive_files(Lake(landed), key)] == files[1:]


def test_no_link_to_a_folder_leads_in_circles_or_into_other_keys(landed: Settings, tmp_path: Path) -> None:
    landing, elsewhere = tmp_path / "landing", tmp_path / "elsewhere"
    names = "abcdefghijkl"  # each links to all others: there are 12! ways through them
    for name in names:
        (elsewhere / name).mkdir(parents=True)
        (elsewhere / name / "x.csv").write_bytes(b"")
        for other in names:
            link(f"../{other}", elsewhere / name / f"to-{other}")
    link(elsewhere / "a", landing / KEY / "circle")
    link(landing, landing / KEY / "all")
    link(tmp_path, landing / KEY / "day/above")
    link(".", landing / KEY / "self")
    link("..", landing / KEY / "day/up")
    link("shards", landing / KEY / "day/again")
    link(".", landing / "everything")
    assert landing_keys(landed) == [KEY]
    assert not landing_files(landed, "everything")
    paths = [entry.path for entry in landing_files(landed, KEY)]
    circle = [path for path in paths if "/circle/" in path]
    assert [path for path in paths if path not in circle] == [f"{KEY}/{name}" for name in FINISHED]
    assert len(circle) == len(names)


def test_a_lake_does_not_own_what_a_link_in_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_bytes(b"")
    link(tmp_path / "mine", tmp_path / "lake/pairs")
    assert not list(FolderStorage(tmp_path / "lake").entries(""))
