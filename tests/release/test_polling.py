"""Readers that look again and again see whole releases only, whoever is killed while one is published."""

import json
import os
import random
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kale_tasks.lake.storage.base import Storage
from kale_tasks.lake.storage.open import open_storage
from kale_tasks.release.built import read
from tests.hub.server import HubServer
from tests.lakes import lake_sets
from tests.release.conftest import World, world
from tests.release.readers import State, watching

REPO = "datasets/someone/captions"
TARGETS = [
    "folder",
    pytest.param("s3", marks=[pytest.mark.server, pytest.mark.nightly]),
    pytest.param("hub", marks=pytest.mark.nightly),
]
SOME = [5, pytest.param(50, marks=[pytest.mark.nightly, pytest.mark.timeout(1800)])]


def store_reader(place: Storage) -> State:
    """The files of the release that the card at the root leads to, as the pointer and the manifest describe it."""
    try:
        card = place.read("README.md").decode()
    except FileNotFoundError:
        return frozenset()
    config = next(one for one in yaml.safe_load(card.split("---\n")[1])["configs"] if one["config_name"] == "full")
    patterns = config["data_files"][0]["path"]
    (version,) = {path.partition("/")[0] for path in patterns}
    listed = json.loads(place.read(f"{version}/manifest.json"))["files"]
    present = {e.path.removeprefix(f"{version}/"): e.size for e in place.entries(version)}
    assert all(present[f["name"]] == f["bytes"] for f in listed)
    found = {name for name in present if any(Path(version, name).match(pattern) for pattern in patterns)}
    assert found == {f["name"] for f in listed}  # a killed publication leaves files that no pattern matches
    return frozenset(found)


def hub_reader(hub: HubServer) -> State:
    """The files of the main branch, as its manifest lists them."""
    if REPO not in hub.repos:
        return frozenset()

    def get(path: str) -> Any:
        with urllib.request.urlopen(f"{hub.url}/{path}") as answer:
            return json.load(answer)

    found = get(f"api/{REPO}/revision/main")
    names = {f["rfilename"] for f in found["siblings"]}
    if "manifest.json" not in names:
        assert not any(name.startswith("data/") for name in names)
        return frozenset()
    listed = get(f"{REPO}/resolve/{found['sha']}/manifest.json")["files"]
    assert {name for name in names if name.startswith("data/")} == {f["name"] for f in listed}
    return frozenset(f["name"] for f in listed)


def killed(publish: Callable[[], object], after: float) -> None:
    """Publish in a process that is killed."""
    if not (child := os.fork()):
        publish()
        os._exit(0)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("publications", SOME)
@pytest.mark.parametrize("target", TARGETS)
def test_readers_see_whole_releases_only_while_publications_are_killed(
    target: str, publications: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    it, look = opened(target, tmp_path, request)
    chance, releases = random.Random(publications), [frozenset[str]()]
    with watching(look) as seen:
        for number in range(publications):
            it.fill("a", rows=30, a=f"Edition {number} ")
            it.release("a")
            releases.append(frozenset(file.name for file in read(it.lake, "a").files))
            for _ in range(2):
                killed(lambda: it.publish("a"), chance.uniform(0, 0.4))
            it.publish("a")
    assert len(set(releases)) == publications + 1
    places = [releases.index(state) for state in seen]
    assert places == sorted(places) and places[-1] == publications, "each is seen whole, and none comes back"


def opened(target: str, folder: Path, request: pytest.FixtureRequest) -> tuple[World, Callable[[], State]]:
    """A lake with that target, and a reader of it."""
    sets = ["publish.shard_rows=4", "publish.upload_workers=2"]
    if target == "hub":
        hub: HubServer = request.getfixturevalue("hub")
        return world("folder", folder, request, f"publish.target=hf://{REPO}", *sets), lambda: hub_reader(hub)
    s3 = request.getfixturevalue("s3") if target == "s3" else None
    more = [text for text in lake_sets("s3", folder / "s3", request) if text.startswith("s3.")] if s3 else []
    it = world(
        "folder", folder, request, f"publish.target={f's3://{s3.bucket()}/out' if s3 else folder / 'out'}", *more, *sets
    )
    place = open_storage(str(it.settings.publish.target), it.settings.s3)
    return it, lambda: store_reader(place)
