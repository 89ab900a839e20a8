"""Releases on the Hub: the real client against a server with the Hub's API."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from kale_tasks.errors import BadConfig, Conflict, Transient
from kale_tasks.release.built import read
from tests.hub.repo import Blob, Repo
from tests.hub.server import TOKEN, Fault, HubServer
from tests.release.conftest import Template, World, world
from tests.release.readers import State, load_dataset, watching
from tests.release.world import uid

REPO = "datasets/someone/captions"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Template:
    folder = tmp_path_factory.mktemp("hub")
    made = world("folder", folder, request, f"publish.target=hf://{REPO}", "publish.shard_rows=10")
    made.fill("a", rows=100)
    made.release("a")
    return Template(folder, made)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Make waiting instant; returns the seconds that would have been waited."""
    waited: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waited.append)
    return waited


def reader(hub: HubServer) -> State:
    """The data files that the Hub shows."""
    if REPO not in hub.repos:
        return frozenset()
    with urllib.request.urlopen(f"{hub.url}/api/{REPO}/revision/main") as answer:
        files = json.load(answer)["siblings"]
    return frozenset(f["rfilename"] for f in files if f["rfilename"].startswith("data/"))


def names(it: World, key: str) -> State:
    return frozenset(file.name for file in read(it.lake, key).files)


def large(it: World, key: str) -> set[str]:
    return {file.sha256 for file in read(it.lake, key).files}


def command(it: World, hub: HubServer) -> subprocess.Popen[bytes]:
    sets = [word for text in it.sets for word in ("--set", text)]
    env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": TOKEN}
    return subprocess.Popen([sys.executable, "-m", "kale_tasks", "publish", "--key", "a", *sets], env=env)


def test_a_reader_sees_whole_releases_and_only_new_files_are_sent(it: World, hub: HubServer) -> None:
    with watching(lambda: reader(hub)) as seen:
        it.publish("a")
        first, sent = names(it, "a"), large(it, "a")
        assert set(hub.received) == sent
        it.fill("b", rows=30)
        version = it.release("b")
        it.publish("b")
    assert seen == [frozenset(), first, names(it, "b")]
    assert set(hub.received) == large(it, "b") and set(hub.received.values()) == {1}
    repo = hub.repo(REPO)
    assert repo.tags[version] == repo.head.oid and len(repo.commits) == 3
    assert repo.head.files["manifest.json"].small


def test_files_of_older_releases_are_removed_but_files_of_other_people_stay(it: World, hub: HubServer) -> None:
    it.publish("a")
    repo = hub.repo(REPO)
    repo.commit("a figure", "", {"figures/map.svg": Blob(3, b"map")}, ())
    it.fill("a", rows=100, a="Mary ")
    it.release("a")
    it.publish("a")
    assert reader(hub) == names(it, "a")
    assert repo.head.files["figures/map.svg"].small == b"map"


def test_a_killed_upload_is_resumed(it: World, hub: HubServer) -> None:
    hub.pace = 0.3
    files = large(it, "a")
    process = command(it, hub)
    while len(hub.received) < len(files) // 2:
        assert process.poll() is None, "it ended too early"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert reader(hub) == frozenset()
    hub.pace = 0.0
    assert command(it, hub).wait() == 0
    resent = sum(hub.received.values()) - len(files)
    assert set(hub.received) == files and resent <= 1
    assert reader(hub) == names(it, "a")


def test_a_commit_that_landed_despite_an_error_is_not_repeated(it: World, hub: HubServer) -> None:
    hub.faults = [Fault("POST .*/commit/main", 500, after=True)]
    it.publish("a")
    assert len(hub.repo(REPO).commits) == 2
    assert reader(hub) == names(it, "a")


def test_a_commit_whose_response_was_lost_is_not_repeated(it: World, hub: HubServer) -> None:
    hub.faults = [Fault("POST .*/commit/main", 0, after=True)]
    it.publish("a")
    assert len(hub.repo(REPO).commits) == 2


def test_a_publication_that_is_killed_between_its_commit_and_the_answer_is_not_repeated(
    it: World, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, commit = list[subprocess.Popen[bytes]](), Repo.commit_lines

    def last_seen(*of: Any) -> Any:
        made = commit(*of)
        started[0].kill()
        started[0].wait()
        return made

    with monkeypatch.context() as patch:
        patch.setattr(Repo, "commit_lines", last_seen)
        started.append(command(it, hub))
        assert started[0].wait() == -signal.SIGKILL
    assert reader(hub) == names(it, "a")
    assert command(it, hub).wait() == 0
    assert len(hub.repo(REPO).commits) == 2
    assert set(hub.received.values()) == {1}
    assert reader(hub) == names(it, "a")


def test_a_failed_commit_is_retried(it: World, hub: HubServer) -> None:
    hub.faults = [Fault("POST .*/commit/main", 503, times=2)]
    it.publish("a")
    assert len(hub.repo(REPO).commits) == 2


def test_the_rate_limit_is_respected(it: World, hub: HubServer, quick: list[float]) -> None:
    limit = {"RateLimit": '"api";r=0;t=40', "RateLimit-Policy": '"fixed window";"api";q=100;w=300'}
    hub.faults = [
        Fault("POST .*/commit/main", 429, headers=limit),
        Fault("PUT /lfs/", 429, headers={"Retry-After": "7"}),
    ]
    it.publish("a")
    assert 40 in quick and len(hub.repo(REPO).commits) == 2


def test_a_long_rate_limit_is_left_to_the_scheduler(it: World, hub: HubServer) -> None:
    hub.faults = [Fault("POST .*/commit/main", 429, times=99, headers={"RateLimit": '"api";r=0;t=3000'})]
    with pytest.raises(Transient, match="3000 s"):
        it.publish("a")


def test_a_commit_by_somebody_else_is_a_conflict_and_stays(it: World, hub: HubServer) -> None:
    it.publish("a")
    it.fill("a", rows=100, a="Mary ")
    it.release("a")

    def meddle(line: str) -> None:
        if "/preupload/" in line:
            hub.hook = lambda _: None
            hub.repo(REPO).commit("fix a typo", "", {"NOTES.md": Blob(2, b"hi")}, ())

    hub.hook = meddle
    with pytest.raises(Conflict, match="meanwhile: 'fix a typo'"):
        it.publish("a")
    assert hub.repo(REPO).head.title == "fix a typo"
    sent = sum(hub.received.values())
    it.publish("a")
    assert sum(hub.received.values()) == sent, "uploads are kept"
    assert "NOTES.md" in hub.repo(REPO).head.files and reader(hub) == names(it, "a")


@pytest.mark.parametrize("request_", ["POST .*/preupload/", "POST .*objects/batch", "POST .*/commit/main"])
def test_an_expired_token_is_reported(it: World, hub: HubServer, request_: str) -> None:
    it.publish("a")
    it.fill("a", rows=100, a="Mary ")
    it.release("a")
    hub.faults = [Fault(request_, 401, times=99)]
    with pytest.raises(BadConfig, match="Set a valid HF_TOKEN"):
        it.publish("a")
    hub.faults = []
    it.publish("a")
    assert reader(hub) == names(it, "a") and set(hub.received.values()) == {1}


def test_a_hub_that_is_down_is_transient(it: World, hub: HubServer) -> None:
    hub.stop()
    with pytest.raises(Transient):
        it.publish("a")


def test_publishing_again_makes_no_commit(it: World, hub: HubServer) -> None:
    it.publish("a")
    commits = len(hub.repo(REPO).commits)
    it.publish("a")
    assert len(hub.repo(REPO).commits) == commits


def test_an_invalid_repository_is_refused(it: World, hub: HubServer) -> None:
    with pytest.raises(BadConfig, match="hf://datasets/name/dataset"):
        it.with_("publish.target=hf://captions").publish("a")


@pytest.mark.nightly
def test_load_dataset_reads_the_hub_whole_and_streamed(it: World, hub: HubServer, tmp_path: Path) -> None:
    it.publish("a")
    got = load_dataset(
        {"path": REPO.removeprefix("datasets/"), "name": "core"}, tmp_path / "cache", HF_ENDPOINT=hub.url
    )
    stage1 = [r["uid"] for r in it.lake.arrow("captions").to_pylist() if r["stage"] == 1]
    assert got["whole"] == got["streamed"] == sorted(stage1)
    assert set(stage1) < {uid("a", n) for n in range(100)}
    assert got["types"]["flags"] == "List(Value('string'))"
