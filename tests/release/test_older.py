"""Older releases: how long they stay, and how one is published again."""

import json
import os
import time
from pathlib import Path

import pytest

from kale_tasks.errors import Conflict
from kale_tasks.progress import Silent
from kale_tasks.release.built import read
from kale_tasks.release.publish import roll_back, target
from kale_tasks.release.retention import expire_releases, versions
from kale_tasks.takedown.sweep import take_down
from tests.hub.server import HubServer
from tests.kale import kale
from tests.release.conftest import Template, World, world
from tests.release.world import pipeline, uid

REPO = "datasets/someone/captions"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Template:
    """Three releases of a key, each published."""
    folder = tmp_path_factory.mktemp("older")
    made = world("folder", folder, request, f"publish.target={folder / 'out'}", "maintenance.run_days=0",
                 "maintenance.grace_hours=0")  # fmt: skip
    for edition in ("", "second ", "third "):
        made.fill("a", rows=30, a=edition)
        made.release("a")
        made.publish("a")
    return Template(folder, made)


def published(it: World) -> list[str]:
    return list(target(it.settings).history())


def shown(it: World) -> str | None:
    return target(it.settings).current().version


def test_releases_are_listed_in_the_order_in_which_they_were_published(it: World) -> None:
    assert published(it) == list(reversed(versions(it.lake, "a"))) and len(published(it)) == 3
    assert shown(it) == published(it)[-1]


def test_going_back_publishes_the_one_before_and_then_the_one_before_that(it: World) -> None:
    first, second, third = published(it)
    assert roll_back(it.lake, it.settings, Silent())[0] == second == shown(it)
    assert roll_back(it.lake, it.settings, Silent())[0] == first == shown(it)
    with pytest.raises(Conflict, match="No older release"):
        roll_back(it.lake, it.settings, Silent())
    assert published(it) == [first, second, third]
    it.publish("a")
    assert shown(it) == third


def test_the_command_goes_back_to_a_release_that_is_named(it: World) -> None:
    first = published(it)[0]
    answer = kale("release", "rollback", "--to", first, "--json", sets=it.sets)
    assert (answer.code, answer.json["version"], shown(it)) == (0, first, first)
    root = Path(str(it.settings.publish.target), "README.md").read_text()
    assert f"{first}/data/" in root and f"{published(it)[-1]}/data/" not in root


def test_a_release_from_before_a_takedown_is_not_published_again(it: World) -> None:
    take_down(it.lake, it.settings, {"uid": [uid("a", 3)]}, pipeline(30), Silent())
    with pytest.raises(Conflict, match="Rows were taken down"):
        roll_back(it.lake, it.settings, Silent())


def test_going_back_on_the_hub_sends_no_bytes_again(it: World, hub: HubServer) -> None:
    hubbed = it.with_(f"publish.target=hf://{REPO}")
    first = hubbed.publish("a")
    hubbed.fill("a", rows=30, a="fourth ")
    hubbed.release("a")
    hubbed.publish("a")
    sent = hub.received_bytes
    before = sum(hub.received.values())
    version, address = roll_back(hubbed.lake, hubbed.settings, Silent())
    assert sum(hub.received.values()) == before and hub.received_bytes - sent < 100_000
    repo = hub.repo(REPO)
    assert json.loads(repo.read(repo.head.files["manifest.json"]))["version"] == version
    assert address != first and {n for n in repo.head.files if n.startswith("data/")} == {
        file.name for file in read(hubbed.lake, "a", version).files
    }


def test_the_oldest_releases_expire_in_lake_and_target(it: World) -> None:
    first, second, third = published(it)
    files = [{f.path for f in read(it.lake, "a", version).files} for version in (first, second, third)]
    few = it.with_("publish.keep_releases=1")
    planned = expire_releases(few.lake, few.settings, dry_run=True)
    assert (planned.versions, published(it)) == ([first], [first, second, third])
    done = expire_releases(few.lake, few.settings)
    assert list(done.versions) == [first] and published(few) == versions(few.lake, "a")[::-1] == [second, third]
    left = {entry.path for entry in few.lake.storage.entries("release_files")}
    assert left == files[1] | files[2]
    assert not list(Path(str(it.settings.publish.target), first).rglob("*.parquet"))
    assert roll_back(few.lake, few.settings, Silent())[0] == second


def test_what_a_killed_publication_had_begun_to_write_is_deleted_after_a_day(it: World) -> None:
    folder = Path(str(it.settings.publish.target), published(it)[-1], "data")
    for name, age in ((".tmp-old", 2 * 86_400), (".tmp-new", 60)):
        (folder / name).write_bytes(b"PAR1")
        os.utime(folder / name, (time.time() - age,) * 2)
    expire_releases(it.lake, it.settings)
    assert {path.name for path in folder.glob(".tmp-*")} == {".tmp-new"}


def test_a_release_that_is_shown_does_not_expire(it: World) -> None:
    first, second, third = published(it)
    roll_back(it.lake, it.settings, Silent(), first)
    few = it.with_("publish.keep_releases=1")
    expire_releases(few.lake, few.settings)
    assert published(few) == [first, third] and set(versions(few.lake, "a")) == {first, second, third}


def test_maintenance_expires_releases(it: World) -> None:
    answer = kale("maintain", "--json", sets=[*it.sets, "publish.keep_releases=1"])
    assert answer.code == 0, answer.err
    assert len(published(it)) == 2 and len(answer.json["releases"]) == 2
