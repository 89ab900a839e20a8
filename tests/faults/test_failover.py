"""A PostgreSQL that dies and is followed by its standby, in the middle of a commit."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog

from kale_tasks.contract import registry as steps
from kale_tasks.runner.verify import verify
from tests.faults.child import nth
from tests.kale import kale
from tests.lakes import lake_of
from tests.services.postgres import PASSWORD, USER, Postgres, running_postgres
from tests.services.server import HOST

KEYS = ("2026-11-01", "2026-11-02")
TEXTS = sorted(str(v) for v in range(250) if v % 7 and v % 11)
TRANSIENT = 4


@pytest.fixture
def servers() -> Iterator[tuple[Postgres, Postgres]]:
    """A primary, and a standby that has all that is committed."""
    with running_postgres() as primary, running_postgres(primary) as standby:
        primary.commit_to_standby()
        yield primary, standby


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(False, marks=pytest.mark.further, id="before the catalog hears"),
        pytest.param(True, id="after the catalog has heard"),
    ],
)
def test_a_commit_goes_on_with_the_standby_that_follows_a_dead_database(
    after: bool, servers: tuple[Postgres, Postgres], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    primary, standby = servers
    name = primary.database().rpartition("/")[2]
    hosts = "&".join(f"host={HOST}:{server.port}" for server in servers)
    catalog = f"postgresql+psycopg2://{USER}:{PASSWORD}@/{name}?{hosts}&target_session_attrs=read-write"
    sets = [f"warehouse={tmp_path / 'lake'}", f"catalog={catalog}", "parts.part_rows=10", "parts.chunk_rows=50"]
    numbers = replace(steps.STEPS["ingest"], reference="tests.steps:Numbers", suite=None)
    monkeypatch.setitem(steps.STEPS, "ingest", numbers)
    lake_of(sets)
    assert kale("run", "ingest", "--key", KEYS[0], sets=sets).code == 0
    original, now = SqlCatalog.commit_table, nth(1, lambda _, table, *__: table.name() == ("kale", "pairs"))

    def failing(*of: Any) -> Any:
        fails = now(*of)
        made = original(*of) if after or not fails else None
        if fails:
            primary.kill()
        return made or original(*of)

    with monkeypatch.context() as patch:
        patch.setattr(SqlCatalog, "commit_table", failing)
        answer = kale("run", "ingest", "--key", KEYS[1], sets=sets)
    assert answer.code == TRANSIENT, answer.err
    assert answer.complaint.startswith("kale: ") and PASSWORD not in answer.err
    standby.promote()
    assert kale("run", "ingest", "--key", KEYS[1], sets=sets).code == 0
    lake = lake_of(sets)[0]
    assert {key: sorted(lake.arrow("pairs", key)["alt_text"].to_pylist()) for key in KEYS} == dict.fromkeys(KEYS, TEXTS)
    assert verify(lake).damaged == []
