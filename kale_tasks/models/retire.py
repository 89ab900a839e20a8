"""Deletes the files of students that nobody uses any more. Their rows, with figures and verdicts, stay."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from kale_tasks.lake.damage import GONE
from kale_tasks.lake.tables import Lake
from kale_tasks.models.students import Promoted, Student, history, in_order, student_path, versions


def unused_students(lake: Lake, age: timedelta) -> list[Student]:
    """Return the students that were last in use, or else trained, longer ago than that.

    One that is in use, that a rollback would return to, or that made captions of the lake is never among them.
    """
    if "models" not in lake.tables():
        return []
    found, before = versions(lake), datetime.now(UTC) - age
    pasts = {recipe: history(lake, recipe) for recipe in {student.recipe for student in found}}
    kept = _captioned(lake) | {version for past in pasts.values() for version in in_order(past)[-2:]}
    return [
        student
        for student in found
        if student.version not in kept
        and (last := _last_use(lake, student, pasts[student.recipe])) is not None
        and last < before
    ]


def delete_student(lake: Lake, student: Student) -> bool:
    """Delete the files of a student; False if it has come into use meanwhile."""
    marker = f"{student_path(student.version)}/{GONE}"
    lake.storage.put(marker, b"{}")
    if student.version in in_order(history(lake, student.recipe))[-2:]:
        lake.storage.delete(marker)
        return False
    for name in student.files:
        lake.storage.delete(f"{student_path(student.version)}/{name}")
    return True


def _captioned(lake: Lake) -> set[str]:
    if "captions" not in lake.tables():
        return set()
    return {one.inputs["student"] for one in lake.partitions("captions").values() if "student" in one.inputs}


def _last_use(lake: Lake, student: Student, past: Sequence[Promoted]) -> datetime | None:
    """When it was replaced, or trained if it was never in use; None if its files are gone."""
    files = {entry.path.rpartition("/")[2]: entry.modified for entry in lake.storage.entries(student.path)}
    if GONE in files or not files:
        return None
    replaced = [after.at for entry, after in pairwise(past) if entry.version == student.version]
    return max([*files.values(), *map(datetime.fromisoformat, replaced)])
