"""No answer of a stranger stops a chunk: each becomes the reason of its own row."""

import asyncio
import os
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from kale_tasks.images.fetch import ImageFetcher
from kale_tasks.images.web import WebClient
from kale_tasks.settings.images import Fetch
from tests.images.fuzz import HOSTS, fuzzing_server
from tests.images.world import settings

AT_ONCE = 32


async def _reasons(of: Fetch, port: int, answers: int) -> Counter[str]:
    web = WebClient(of, lambda name, value: None)
    fetcher, seeds, found = ImageFetcher(of, web, lambda name, value: None), iter(range(answers)), Counter[str]()

    async def fetch() -> None:
        for seed in seeds:
            host = 1 if seed % 4 else seed % HOSTS + 1  # the others have hostile robots.txt files too
            async with fetcher.fetch(f"http://127.0.0.{host}:{port}/{seed}.jpg") as response:
                found[response.reason or "ok"] += 1
                pa.array([response.detail, response.final_url], pa.string())  # must fit into the table

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(fetch())
    finally:
        await web.close()
    return found


MANY = int(os.environ.get("HOSTILE_ANSWERS", "3000"))  # `make nightly` asks for 100,000


@pytest.mark.parametrize("answers", [1_000, pytest.param(MANY, marks=pytest.mark.nightly)])
def test_every_hostile_answer_ends_as_an_image_or_a_reason(tmp_path: Path, answers: int) -> None:
    limits = ["tries=1", "seconds=3", "host_rate=1000000", f"host_concurrency={AT_ONCE}", "patience_seconds=0"]
    of = settings(tmp_path, *(f"images.fetch.{limit}" for limit in limits)).images.fetch
    with fuzzing_server() as port:
        found = asyncio.run(_reasons(of, port, answers))
    assert sum(found.values()) == answers
    assert found["ok"]
    assert len(found) >= 8, found
