"""Lakes and models for the captioning tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kale_tasks.lake.tables import Lake
from kale_tasks.settings import Settings
from tests.captions.world import untrained
from tests.engines.server import Server
from tests.lakes import lake_of

COMMON = [
    "parts.part_rows=20",
    "parts.chunk_rows=100",
    "caption.recipe=demo",
    "caption.in_flight=8",
    "caption.device=cpu",
]
Opened = tuple[Lake, Settings]
Opener = Callable[..., Opened]


@pytest.fixture
def opened(tmp_path: Path) -> Opener:
    """Opens the lake of the test with additional settings, the same lake each time."""

    def open_lake(*sets: str, server: Server | None = None) -> Opened:
        names = ("models.vlm", "models.llm", "student")
        served = [f"caption.endpoints.{name}=[{server.url}]" for name in names] if server else []
        common = [f"warehouse={tmp_path / 'warehouse'}", *COMMON]
        kind = "openai" if server else "transformers"
        return lake_of([*common, f"caption.engine={kind}", *served, *sets])

    return open_lake


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two untrained models: `sees` takes images, `reads` takes text only."""
    return untrained(tmp_path_factory.mktemp("models"))
