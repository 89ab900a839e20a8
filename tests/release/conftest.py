"""Lakes with captions, and a local Hub."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub.constants as hub_constants
import pytest

from kale_tasks.lake.tables import Lake
from kale_tasks.progress import Silent
from kale_tasks.release.publish import publish
from kale_tasks.settings import Settings
from tests.hub.server import TOKEN, HubServer
from tests.lakes import lake_of, lake_sets, settings_of
from tests.release.world import fill, release

SETS = [
    "caption.recipe=kale",
    "parts.part_rows=60",
    "parts.chunk_rows=120",
    "publish.shard_rows=50",
    "publish.takedown_days=0",
]


@dataclass
class World:
    """A lake, the settings it was made with, and shortcuts to fill, release and publish it."""

    lake: Lake
    sets: list[str]

    @property
    def settings(self) -> Settings:
        return self.lake.settings

    def fill(self, *keys: str, rows: int = 120, **salt: str) -> None:
        fill(self.lake, self.settings, keys, rows, salt)

    def release(self, key: str) -> str:
        return f"{key}-{release(self.lake, self.settings, key).fingerprint[:8]}"

    def publish(self, key: str) -> str:
        return publish(self.lake, self.settings, key, Silent())

    def with_(self, *more: str) -> "World":
        """The same lake under other settings."""
        sets = [*self.sets, *more]
        return World(Lake(settings_of(sets)), sets)


def world(kind: str, folder: Path, request: pytest.FixtureRequest, *sets: str) -> World:
    """Create an empty lake of a kind."""
    all_sets = [*lake_sets(kind, folder, request), *SETS, *sets]
    lake, _ = lake_of(all_sets)
    return World(lake, all_sets)


class Template:
    """A lake in a folder that is made once, and put back at the same place for each test."""

    def __init__(self, folder: Path, made: World) -> None:
        self._folder, self._copy, self._sets = folder, folder.with_name(f"{folder.name}-copy"), made.sets
        shutil.copytree(folder, self._copy)

    def restored(self, *more: str) -> World:
        """Return the lake as it was made, with some more settings."""
        shutil.rmtree(self._folder)
        shutil.copytree(self._copy, self._folder)
        sets = [*self._sets, *more]
        return World(Lake(settings_of(sets)), sets)


@pytest.fixture
def it(template: Template) -> World:
    """The lake of the module's template, as it was made."""
    return template.restored()


def use_hub(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the real client of this process talk to a local Hub, by LFS."""
    monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub_constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(hub_constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        hub_constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    )
    monkeypatch.setenv("HF_TOKEN", TOKEN)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A local Hub that the real client of this process talks to."""
    server = HubServer(tmp_path / "hub")
    use_hub(server, monkeypatch)
    yield server
    server.stop()
