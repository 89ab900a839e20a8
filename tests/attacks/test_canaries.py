"""Planted secrets are nowhere: not in logs, tables, snapshots, reports or releases, nor with processes that decode."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import web

from kale_tasks.world.write import write_landing
from tests.attacks.canaries import CANARIES, Watched, canaries_in, readable, watched
from tests.engines.server import completion, running

KEY = "2026-11-01"
KEY_OF_ENGINE = CANARIES["KALE_CAPTION__ENDPOINTS__API_KEY"]
BAD_CONFIG = 2


async def _answer(request: web.Request) -> web.Response:
    """Caption an image if the key is right. Every seventh request is refused in words that repeat its key."""
    assert request.headers["Authorization"] == f"Bearer {KEY_OF_ENGINE}"
    _answer.count += 1  # type: ignore[attr-defined]
    if _answer.count % 7 == 0:  # type: ignore[attr-defined]
        return web.Response(status=400, text=f"bad request with {request.headers['Authorization']}")
    return completion("A small red house is at the top. A green bridge is printed at the left of it.")


async def _refuse(request: web.Request) -> web.Response:
    return web.Response(status=401, text=f"Incorrect API key provided: {request.headers['Authorization']}")


@pytest.fixture
def engine() -> Iterator[str]:
    """The address of the server that captions."""
    _answer.count = 0  # type: ignore[attr-defined]
    with running([web.post("/v1/chat/completions", _answer)]) as url:
        yield url


def test_secrets_are_in_no_file_no_log_and_no_worker(engine: str, tmp_path: Path) -> None:
    (scratch := tmp_path / "scratch").mkdir()
    write_landing(tmp_path / "landing", 1, 30)
    asked = f"caption.endpoints.models={{vlm: ['{engine}'], llm: ['{engine}']}}"
    sets = [f"landing={tmp_path / 'landing'}", f"warehouse={tmp_path / 'lake'}", "caption.engine=openai", asked]
    commands = [["init"], *(["run", step, "--key", KEY] for step in ("ingest", "images", "captions"))]
    commands += [
        ["run", "release", "--key", KEY],
        ["report", "--key", KEY],
        ["status"],
        ["config"],
        ["history", "--last", "50"],
        ["doctor"],
    ]
    seen = {" ".join(words): watched(words, sets, scratch) for words in commands}
    for words in (f"run {step} --key {KEY}" for step in ("ingest", "images", "captions")):
        assert seen[words].code in (0, 3), seen[words].said.decode()  # 3: few captions are left, which a check notices
    with running([web.post("/v1/chat/completions", _refuse)]) as refusing:
        wrong = [*sets, asked.replace(engine, refusing)]
        again = ["run", "captions", "--key", KEY, "--again"]
        seen["a refused key"] = watched(again, wrong, scratch)
    assert seen["a refused key"].code == BAD_CONFIG and b"Incorrect API key" in seen["a refused key"].said
    password = CANARIES["PGPASSWORD"]
    away = [*sets, f"catalog=postgresql+psycopg2://kale:{password}@127.0.0.1:1/kale"]
    assert password.encode() not in watched(["status"], away, scratch).said
    _assert_clean(seen, tmp_path)


def _assert_clean(seen: dict[str, Watched], folder: Path) -> None:
    assert {name: found for name, one in seen.items() if (found := canaries_in(one.said))} == {}
    assert [line for one in seen.values() for line in one.lines if canaries_in(line)] == []
    environments = [environment for one in seen.values() for environment in one.environments.values()]
    assert environments and not any(map(canaries_in, environments))
    assert {str(path): found for path, text in readable(folder) if (found := canaries_in(text))} == {}


def test_a_canary_is_found_in_a_compressed_table(tmp_path: Path) -> None:
    rows = pa.table({"detail": [f"bad request with {KEY_OF_ENGINE}"] * 1000})
    pq.write_table(rows, tmp_path / "rows.parquet", compression="zstd")
    assert any(canaries_in(text) for _, text in readable(tmp_path))
