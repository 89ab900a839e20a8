"""A lake whose catalog is behind Iceberg's REST protocol."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from kale_tasks.errors import BadConfig, Conflict, Transient
from kale_tasks.lake import catalog as module
from kale_tasks.lake.commit import move_epoch
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import commit, execute, plan, work
from kale_tasks.settings import Settings
from tests.engines.server import running
from tests.kale import kale
from tests.lakes import lake_of, settings_of
from tests.services.rest_catalog import RestCatalog, rest_catalog
from tests.steps import Numbers

KEY = "2026-11-01"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RestCatalog]:
    with rest_catalog(tmp_path) as served:
        yield served


@pytest.fixture
def sets(tmp_path: Path, served: RestCatalog) -> list[str]:
    return [f"warehouse={tmp_path / 'lake'}", f"landing={tmp_path}", f"catalog={served.uri}", "parts.part_rows=10"]


@pytest.fixture
def lake(sets: list[str]) -> tuple[Lake, Settings]:
    return lake_of(sets)


def test_keys_are_committed_replaced_and_read(lake: tuple[Lake, Settings], sets: list[str]) -> None:
    for key, salt in ((KEY, "old "), ("2026-11-02", "other "), (KEY, "new ")):
        execute(Run(Numbers(30, salt=salt), *lake, key))
    texts = lake[0].arrow("pairs", KEY)["alt_text"].to_pylist()
    assert texts and all(text.startswith("new ") for text in texts)
    assert kale("show", "pairs", "--key", "2026-11-02", "--json", sets=sets).json[0]["alt_text"].startswith("other ")


def test_a_late_run_is_refused(lake: tuple[Lake, Settings]) -> None:
    late = Run(Numbers(30, salt="late "), *lake, KEY)
    made = plan(late)
    for chunk in made.chunks:
        work(late, chunk)
    execute(Run(Numbers(30, salt="first "), *lake, KEY))
    with pytest.raises(Conflict, match="Another run committed"):
        commit(late, made)
    move_epoch(lake[0], ["pairs"])
    assert lake[0].arrow("pairs", KEY)["alt_text"][0].as_py().startswith("first ")


@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_commit_whose_answer_was_lost_is_not_made_twice(
    lake: tuple[Lake, Settings], served: RestCatalog, status: int
) -> None:
    lake[0].table("pairs")  # created before answers are lost
    served.failures = [status]
    done = execute(Run(Numbers(30), *lake, KEY))
    assert not served.failures
    assert len(lake[0].table("pairs").snapshots()) == 1
    assert lake[0].arrow("pairs", KEY).num_rows == done.rows


@pytest.mark.parametrize(
    ("status", "expected", "says"),
    [(503, Transient, "does not answer"), (401, BadConfig, "Check the catalog"), (403, BadConfig, "Check the catalog")],
)
def test_a_catalog_that_refuses_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, expected: type[Exception], says: str
) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.json_response({"error": {"message": "no", "type": "Error", "code": status}}, status=status)

    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    with running([web.get("/v1/config", refuse)]) as url, pytest.raises(expected, match=says):
        Lake(settings_of([f"warehouse={tmp_path}", f"catalog={url.removesuffix('/v1')}"]))


def test_a_catalog_that_is_away_is_named(tmp_path: Path) -> None:
    answer = kale("init", sets=[f"warehouse={tmp_path / 'lake'}", "catalog=http://127.0.0.1:9"])
    assert (answer.code, "http://127.0.0.1:9 cannot be reached" in answer.complaint) == (4, True), answer.err
