"""A lake on S3 with a catalog in PostgreSQL is relocated like one in a folder."""

from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from kale_tasks.errors import BadConfig
from kale_tasks.lake.relocate import relocate
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.runner.verify import verify
from tests.lakes import lake_of, lake_sets, settings_of
from tests.steps import Numbers

KEY = "2026-11-01"
CATALOG = ("iceberg_namespace_properties", "iceberg_tables")


def copy_catalog(source: str, target: str) -> None:
    with create_engine(source).connect() as old, create_engine(target).begin() as new:
        for table in CATALOG:
            new.execute(text(f"DELETE FROM {table}"))
            for row in old.execute(text(f"SELECT * FROM {table}")).mappings():
                names = ", ".join(row)
                new.execute(
                    text(f"INSERT INTO {table} ({names}) VALUES ({', '.join(':' + n for n in row)})"), dict(row)
                )


@pytest.mark.nightly
def test_a_copied_lake_on_s3_becomes_a_lake_of_its_own(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    sets = lake_sets("s3", tmp_path, request)
    original, settings = lake_of(sets)
    execute(Run(Numbers(50), original, settings, KEY))
    other = settings_of(lake_sets("s3", tmp_path, request))
    storage = Lake(other).storage
    for entry in original.storage.entries(""):
        storage.put(entry.path, original.storage.read(entry.path))
    copy_catalog(str(settings.catalog), str(other.catalog))
    with pytest.raises(BadConfig, match="relocate"):
        Lake(other)
    with pytest.raises(BadConfig, match="--catalog-copied"):
        relocate(other)
    assert relocate(other, catalog_copied=True).origin == settings.warehouse
    moved = Lake(other)
    assert moved.arrow("pairs", KEY).equals(original.arrow("pairs", KEY))
    assert verify(moved).damaged == []
    execute(Run(Numbers(50, salt="new "), moved, other, KEY))
    assert original.arrow("pairs", KEY)["alt_text"].to_pylist() == [str(n) for n in range(50) if n % 7 and n % 11]
