"""The deadline of a takedown: maintenance ends what is due, and says what keeps it from ending."""

import json
from pathlib import Path

import pytest

from kale_tasks.progress import Silent
from kale_tasks.release.publish import target
from kale_tasks.takedown.certificate import certificate_path, due_takedowns, end_due
from kale_tasks.takedown.sweep import take_down
from tests.kale import kale
from tests.release.conftest import World
from tests.release.world import image, pipeline
from tests.takedown.requests import REMOVED, REQUEST, files_with, take


def names(it: World) -> list[str]:
    return [record["name"] for record in due_takedowns(it.lake)]


def test_maintenance_ends_a_takedown_that_is_due_and_older_releases_expire_with_it(it: World, tmp_path: Path) -> None:
    older = target(it.settings).current().version
    record = take(it, **REQUEST)
    it.release("c")
    it.publish("c")
    assert names(it) == [record["name"]] and (tmp_path / "out" / str(older) / "manifest.json").exists()
    answer = kale("maintain", "--json", sets=it.sets)
    assert answer.code == 0, answer.err
    assert answer.json["takedowns"] == {record["name"]: ""} and names(it) == []
    assert json.loads(it.lake.storage.read(certificate_path(record["name"])))["releases_withdrawn"] == [older]
    assert not list((tmp_path / "out" / str(older)).rglob("*.parquet"))
    assert files_with(tmp_path, [word for name in REMOVED for word in (name.encode(), image(name))]) == []
    assert kale("maintain", "--json", sets=it.sets).json["takedowns"] == {}


def test_maintenance_does_its_work_and_then_fails_with_what_a_person_must_do(it: World) -> None:
    record = take(it, **REQUEST)
    answer = kale("maintain", "--json", sets=it.sets)
    assert answer.code == 5 and f"Takedown {record['name']} is due and cannot end" in answer.complaint
    assert "Run release and publish" in answer.complaint and not any(name in answer.err for name in REMOVED)
    assert answer.json["snapshots"] >= 0 and record["name"] in answer.json["takedowns"]


def test_a_takedown_that_is_not_due_is_left_alone(it: World) -> None:
    patient = it.with_("publish.takedown_days=3")
    take_down(patient.lake, patient.settings, REQUEST, pipeline(120), Silent())
    assert end_due(patient.lake, patient.settings, Silent()) == {} == dict.fromkeys(names(patient))


def test_a_dry_run_names_what_is_due_and_ends_nothing(it: World) -> None:
    record = take(it, **REQUEST)
    answer = kale("maintain", "--dry-run", "--json", sets=it.sets)
    assert (answer.code, answer.json["takedowns"]) == (0, {record["name"]: ""})
    assert names(it) == [record["name"]]


@pytest.mark.nightly
def test_what_a_takedown_withdraws_does_not_wait_for_the_retention_of_releases(it: World) -> None:
    it = it.with_("publish.keep_releases=9")
    first = target(it.settings).current().version
    record = take(it, **REQUEST)
    it.release("c")
    it.publish("c")
    assert end_due(it.lake, it.settings, Silent()) == {record["name"]: ""}
    assert first not in target(it.settings).history()
