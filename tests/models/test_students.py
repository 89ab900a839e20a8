"""Students are registered, promoted and rolled back, and their files can be read from any lake."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from kale_tasks.contract.step import Step
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.errors import BadConfig, BadData
from kale_tasks.lake.tables import Lake
from kale_tasks.models import students as registry
from kale_tasks.models.retire import delete_student, unused_students
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.runner.verify import verify
from kale_tasks.settings import load


class Registered(Step):
    """A step that registers a student made of one small file."""

    name, table, slice, keep = "distill", "models", {"recipe": "kale"}, True

    def __init__(self, folder: Path, accepted: bool) -> None:
        self.folder, self.accepted = folder, accepted

    def config(self, settings):
        return {"file": (self.folder / "weights").read_text()}

    def inputs(self, lake, settings, key):
        return {}

    def chunks(self, run):
        return [Chunk(index=0, first_part=0, parts=1)]

    def work(self, run, chunk, numbers):
        version, files = registry.store(run.lake, self.folder)
        row = {"version": version, "key": run.key, "recipe": "kale", "accepted": self.accepted}
        row |= {"path": registry.student_path(version)}
        row |= {"verdict": "Too far off.", "files": json.dumps(files)}
        yield Part(0, pa.Table.from_pylist([row]), 1)


@pytest.fixture
def lake(tmp_path):
    return Lake(load(environ={}, overrides=[f"warehouse={tmp_path}/lake"]).settings)


def register(lake, tmp_path, text, accepted=True, key="2026-11-01"):
    folder = tmp_path / f"made-{text}"
    folder.mkdir()
    (folder / "weights").write_text(text)
    known = {student.version for student in registry.versions(lake)}
    execute(Run(Registered(folder, accepted), lake, lake.settings, key))
    (version,) = {student.version for student in registry.versions(lake)} - known
    return version


def read(lake, version):
    return (registry.local_copy(lake, version) / "weights").read_text()


def test_a_key_can_have_several_students(lake, tmp_path):
    first, second = register(lake, tmp_path, "a"), register(lake, tmp_path, "b")
    assert {s.version for s in registry.versions(lake)} == {first, second}
    assert read(lake, first) == "a" and read(lake, second) == "b"


def test_no_student_is_promoted_at_first(lake):
    assert registry.promoted(lake, "kale") is None and registry.history(lake, "kale") == []


def test_a_promotion_keeps_its_reason_and_repeating_it_changes_nothing(lake, tmp_path):
    version = register(lake, tmp_path, "a")
    for why in ("good", "said again"):
        registry.promote(lake, version, why)
    assert [(p.version, p.why) for p in registry.history(lake, "kale")] == [(version, "good")]


def test_rollbacks_walk_back_one_student_at_a_time(lake, tmp_path):
    a, b, c = (register(lake, tmp_path, text) for text in "abc")
    for version in (a, b, c):
        registry.promote(lake, version, "newer")
    assert [registry.rollback(lake, "kale", "worse").version for _ in range(2)] == [b, a]
    with pytest.raises(BadConfig, match="No student was promoted before"):
        registry.rollback(lake, "kale", "worse")
    assert registry.promote(lake, c, "after all").version == c
    assert registry.rollback(lake, "kale", "no").version == a


def test_a_student_that_its_promotion_gate_refused_needs_an_explicit_promotion(lake, tmp_path):
    version = register(lake, tmp_path, "a", accepted=False)
    with pytest.raises(BadData, match="Too far off"):
        registry.promote(lake, version, "why not")
    assert registry.promoted(lake, "kale") is None
    assert registry.promote(lake, version, "trial", refused=True).version == version


@pytest.mark.parametrize("version", ["", "feed", "../../etc", "0123456789abcdef"])
def test_an_unknown_version_is_refused(lake, version):
    with pytest.raises(BadConfig):
        registry.promote(lake, version, "?")


def test_concurrent_promotions_are_all_recorded(lake, tmp_path):
    a, b = register(lake, tmp_path, "a"), register(lake, tmp_path, "b")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: registry.promote(lake, (a, b)[i % 2], str(i)), range(8)))
    entries = registry.history(lake, "kale")
    assert all(one.version != other.version for one, other in pairwise(entries))
    assert {p.version for p in entries} == {a, b}


def test_a_damaged_pointer_says_what_to_do(lake, tmp_path):
    lake.storage.put("students/promoted/kale.json", b"{not json")
    with pytest.raises(BadData, match="damaged"):
        registry.promoted(lake, "kale")


class Captioned(Step):
    """A step that writes a caption of a student."""

    name, table, slice = "student", "captions", {"recipe": "kale", "stage": 2}

    def __init__(self, version: str) -> None:
        self.version_of_student = version

    def config(self, settings):
        return {}

    def inputs(self, lake, settings, key):
        return {"student": self.version_of_student}

    def chunks(self, run):
        return [Chunk(index=0, first_part=0, parts=1)]

    def work(self, run, chunk, numbers):
        row = {"uid": "0" * 32, "key": run.key, "recipe": "kale", "stage": 2, "caption": "A red house."}
        yield Part(0, pa.Table.from_pylist([row]), 1)


def unused(lake, age=timedelta(seconds=-5)):
    return {student.version for student in unused_students(lake, age)}


def test_files_of_students_go_once_nobody_has_used_them_for_long(lake, tmp_path):
    a, b, c, refused, read_by_captions = (register(lake, tmp_path, text) for text in "abcde")
    execute(Run(Captioned(read_by_captions), lake, lake.settings, "2026-11-01"))
    for version in (a, b, c):
        registry.promote(lake, version, "newer")
    assert unused(lake) == {a, refused}, "c is in use, and a rollback returns to b"
    assert unused(lake, timedelta(days=1)) == set(), "their time begins when they were replaced"
    registry.rollback(lake, "kale", "worse")
    assert unused(lake) == {c, refused}


def test_a_student_without_files_is_known_but_can_be_neither_used_nor_missed(lake, tmp_path):
    gone, kept = register(lake, tmp_path, "a"), register(lake, tmp_path, "b")
    registry.promote(lake, kept, "good")
    (student,) = unused_students(lake, timedelta(seconds=-5))
    assert delete_student(lake, student) and student.version == gone
    assert unused(lake) == set() and {s.version for s in registry.versions(lake)} == {gone, kept}
    assert verify(lake).damaged == [], "it is no damage that they are gone"
    with pytest.raises(BadData, match="were deleted"):
        registry.promote(lake, gone, "after all")
    assert read(lake, kept) == "b"


def test_a_student_that_comes_into_use_while_it_is_deleted_keeps_its_files(lake, tmp_path):
    version = register(lake, tmp_path, "a")
    (student,) = unused_students(lake, timedelta(seconds=-5))
    registry.promote(lake, version, "good after all")
    assert not delete_student(lake, student)
    assert read(lake, version) == "a" and registry.promote(lake, version, "again").version == version
