"""Lakes for tests: a folder with SQLite, and a real S3 with a real PostgreSQL; by settings alone."""

from pathlib import Path

import pytest

from kale_tasks.lake.tables import Lake
from kale_tasks.settings import Settings, load

KINDS = ["folder", "s3"]


def lake_sets(kind: str, tmp_path: Path, request: pytest.FixtureRequest | None = None) -> list[str]:
    """Create an empty lake and return its settings, as `--set` takes them."""
    sets = _lake_sets(kind, tmp_path, request)
    lake_of(sets)
    return sets


def _lake_sets(kind: str, tmp_path: Path, request: pytest.FixtureRequest | None) -> list[str]:
    common = ["parts.part_rows=10", "parts.chunk_rows=50", f"landing={tmp_path / 'landing'}"]
    if kind == "folder":
        return [*common, f"warehouse={tmp_path / 'warehouse'}"]
    assert request
    s3, postgres = request.getfixturevalue("s3"), request.getfixturevalue("postgres")
    return [
        *common,
        f"warehouse=s3://{s3.bucket()}/lake",
        f"catalog={postgres.database()}",
        f"s3.endpoint={s3.endpoint}",
        f"s3.region={s3.region}",
        f"s3.access_key_id={s3.access_key}",
        f"s3.secret_access_key={s3.secret_key}",
    ]


def settings_of(sets: list[str]) -> Settings:
    """The settings, whatever the environment of the tests says."""
    return load(sets, environ={}).settings


def lake_of(sets: list[str]) -> tuple[Lake, Settings]:
    """The opened lake and its settings."""
    settings = settings_of(sets)
    return Lake(settings), settings
