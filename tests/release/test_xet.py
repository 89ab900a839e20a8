"""Releases by Xet: the real hf-xet sends them to, and reads them from, a store that speaks its protocol."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kale_tasks.release.built import read
from tests.hub.server import TOKEN
from tests.hub.xet_server import XetHub
from tests.release.conftest import World, world

REPO = "datasets/someone/captions"
_DOWNLOAD = """
import sys
from huggingface_hub import snapshot_download
print(snapshot_download(sys.argv[1], repo_type="dataset", local_dir=sys.argv[2]))
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[XetHub]:
    server = XetHub(tmp_path / "hub")
    yield server
    server.stop()


@pytest.fixture
def it(tmp_path: Path, request: pytest.FixtureRequest) -> World:
    made = world("folder", tmp_path, request, f"publish.target=hf://{REPO}", "publish.formats=[images]")
    made.fill("a", rows=100)
    made.release("a")
    return made


def environment(hub: XetHub, folder: Path) -> dict[str, str]:
    given = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_TOKEN": TOKEN, "HF_HOME": str(folder / "home")}
    return {**{name: value for name, value in os.environ.items() if name != "HF_HUB_DISABLE_XET"}, **given}


def run(command: list[str], env: dict[str, str]) -> str:
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def publish(it: World, hub: XetHub, folder: Path) -> None:
    sets = [word for text in it.sets for word in ("--set", text)]
    run([sys.executable, "-m", "kale_tasks", "publish", "--key", "a", *sets], environment(hub, folder))


def test_a_release_is_sent_by_xet_and_comes_back_with_the_hashes_of_its_manifest(
    it: World, hub: XetHub, tmp_path: Path
) -> None:
    publish(it, hub, tmp_path)
    built = read(it.lake, "a")
    assert not hub.received, "no file went by LFS"
    assert {file.sha256 for file in built.files} == set(hub.store.files)
    assert all(hub.store.files[file.sha256].size == file.bytes for file in built.files)
    out = tmp_path / "out"
    run([sys.executable, "-c", _DOWNLOAD, REPO.removeprefix("datasets/"), str(out)], environment(hub, tmp_path))
    listed: list[dict[str, Any]] = json.loads((out / "manifest.json").read_text())["files"]
    assert {f["name"] for f in listed} == {file.name for file in built.files}
    for file in listed:
        assert hashlib.sha256((out / file["name"]).read_bytes()).hexdigest() == file["sha256"]


def test_a_file_that_is_not_what_was_recorded_is_not_published_by_xet(it: World, hub: XetHub, tmp_path: Path) -> None:
    file = read(it.lake, "a").files[0]
    path = Path(it.lake.storage.root, file.path)
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(AssertionError, match=f"{file.path} has other bytes than were written"):
        publish(it, hub, tmp_path)
    assert not [name for name in hub.repo(REPO).head.files if name.startswith("data/")]
