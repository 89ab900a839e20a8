"""A server with the tiny models, pictures of the sample world in a folder, and a lake with captions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kale_tasks.explore.workbench import Workbench
from kale_tasks.world.serve import SampleServer
from kale_tasks.world.write import write_landing, write_pictures
from tests.engines.server import completion, running, serving
from tests.lakes import settings_of

KEY = "2026-11-01"


@pytest.fixture(scope="session")
def tiny() -> Iterator[str]:
    """The address of a server that speaks OpenAI's API and serves the tiny models."""
    with running(SampleServer().routes) as url:
        yield url


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with six pictures and their texts."""
    write_pictures(tmp_path / "photos", 6)
    return tmp_path / "photos"


def scripted(body: dict[str, Any]) -> web.Response:
    """Describe an image in words that depend on it, and fuse by quoting the alt-text."""
    content = body["messages"][-1]["content"]
    if isinstance(content, str):
        return completion(f"A small red house named {content.partition('<alt>')[2].partition('</alt>')[0]} is here.")
    number = int.from_bytes(content[0]["image_url"]["url"][-60:].encode()) % 90 + 10
    return completion(f"A small red house is at the top. The digits {number} are printed at the left of it.")


@pytest.fixture(scope="session")
def captioned(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The settings of a lake with one key of 60 pairs that has captions of stage 1; tests must not write to it."""
    folder = tmp_path_factory.mktemp("captioned")
    write_landing(folder / "landing", 1, 60)
    sets = [f"landing={folder / 'landing'}", f"warehouse={folder / 'lake'}"]
    with serving(reply=scripted) as server:
        asked = f"{{vlm: ['{server.url}'], llm: ['{server.url}']}}"
        bench = Workbench(settings_of([*sets, "caption.engine=openai", f"caption.endpoints.models={asked}"]), KEY)
        for spec in (*bench.first_steps(), *bench.passes()):
            bench.run(spec)
    return sets
