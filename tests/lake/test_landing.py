"""Everything that reads the landing area sees the same files, and none of it sees hidden ones."""

from pathlib import Path

import pytest

from kale_tasks.airflow.sensor import list_landing
from kale_tasks.errors import BadConfig
from kale_tasks.images.adopt import archive_files
from kale_tasks.ingest.pieces import data_files
from kale_tasks.lake.landing import is_hidden, landing_files, landing_keys
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
