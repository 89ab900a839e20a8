"""The registry of trained students, and the pointers to the promoted one of each recipe."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kale_tasks.errors import BadConfig, BadData, Conflict
from kale_tasks.lake.damage import GONE
from kale_tasks.lake.hashing import short_sha256
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.times import utc_now

NAMED = "student@"  # prefix of a version in the column `models` of captions
# Outside the folder of the table `models`, where maintenance deletes files that no snapshot refers to.
_FOLDER = "students"
_VERSION = re.compile(r"[0-9a-f]{16}")
_TRIES = 20


@dataclass(frozen=True)
class Promoted:
    """A promotion or rollback. The last one in the history names the promoted student."""

    version: str
    why: str
    at: str
    back: bool = False  # made by a rollback

    @property
    def path(self) -> str:
        """The folder of its files, relative to the warehouse."""
        return student_path(self.version)


@dataclass(frozen=True)
class Student:
    """A registered student: what it was trained on, and the verdict of its promotion gate."""

    version: str
    key: str
    path: str
    base: str
    recipe: str
    rows: int
    steps: int
    accepted: bool
    verdict: str
    code: str
    parents: Mapping[str, str]
    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    files: Mapping[str, str]


def versions(lake: Lake) -> list[Student]:
    """Return every committed student, ordered by key and version."""
    rows = sorted(lake.arrow("models").to_pylist(), key=lambda row: (row["key"], row["version"]))
    return list({row["version"]: _student(row) for row in rows}.values())


def history(lake: Lake, recipe: str) -> list[Promoted]:
    """Return every promotion and rollback of a recipe's students, the latest last. BadData if the file is damaged."""
    pointer = _pointer(recipe)
    try:
        return [Promoted(**entry) for entry in json.loads(lake.storage.read(pointer))]
    except FileNotFoundError:
        return []
    except (TypeError, ValueError) as error:
        raise BadData(f"{lake.storage.uri(pointer)} is damaged. Delete it, then promote a student again.") from error


def promoted(lake: Lake, recipe: str) -> Promoted | None:
    """Return the promoted student of a recipe, or None if none has been promoted."""
    entries = history(lake, recipe)
    return entries[-1] if entries else None


def promote(lake: Lake, version: str, why: str, *, refused: bool = False) -> Promoted:
    """Promote a student for its recipe. BadData if its promotion gate refused it, unless `refused` allows that."""
    student = find(lake, version)
    if lake.storage.exists(f"{student.path}/{GONE}"):
        raise BadData(f"The files of student {student.version} were deleted, as nobody used it. Train another one.")
    if not student.accepted and not refused:
        raise BadData(f"Student {version} was refused: {student.verdict} Use --refused to promote it anyway.")
    return _append(lake, student.recipe, lambda past: _forward(past, student.version, why))


def succeed(lake: Lake, recipe: str, version: str, why: str, predecessor: str | None) -> Promoted:
    """Promote a student that was compared with `predecessor`; Conflict if another student has been promoted since."""

    def entry(past: list[Promoted]) -> Promoted:
        if (past[-1].version if past else None) not in (predecessor, version):
            raise Conflict(
                f"Student {version} was compared with {predecessor}, but {past[-1].version} has been promoted since. "
                f"Compare them with `kale models show`, then promote the better one."
            )
        return _forward(past, version, why)

    return _append(lake, recipe, entry)


def rollback(lake: Lake, recipe: str, why: str) -> Promoted:
    """Promote the student of a recipe again that was promoted before the current one; BadConfig if there is none."""
    return _append(lake, recipe, lambda past: _backward(past, why))


def find(lake: Lake, version: str) -> Student:
    """Return the student whose version begins with `version`; BadConfig unless there is exactly one."""
    found = [student for student in versions(lake) if version and student.version.startswith(version)]
    if len(found) != 1:
        raise BadConfig(f"{len(found)} students match '{version}'. `kale models list` shows all versions.")
    return found[0]


def student_path(version: str) -> str:
    """Return the folder of a student's files, relative to the warehouse; BadConfig if the version is malformed."""
    if not _VERSION.fullmatch(version):
        raise BadConfig(
            f"'{version[:40]}' is not a version of a student: it must have 16 hex digits. `kale models list` shows all."
        )
    return f"{_FOLDER}/{version}"


def store(lake: Lake, folder: Path) -> tuple[str, dict[str, str]]:
    """Store the files of a student. Return its version, which is a hash of them, and the hash of each file."""
    files = _hashes(folder)
    version = _version_of(files)
    for name in files:
        lake.storage.put(f"{student_path(version)}/{name}", folder / name)
    return version, files


def local_copy(lake: Lake, version: str) -> Path:
    """Return a local folder with the files of a student, downloading them to a cache if needed.

    BadData if they are missing or do not match the version.
    """
    if isinstance(lake.storage, FolderStorage):
        return Path(lake.storage.root, student_path(version))
    student_path(version)  # raises for what is no version
    copy = cache() / version
    if copy.exists():
        os.utime(copy)  # in use: maintenance deletes old copies
    else:
        _download(lake, version, copy)
    return copy


def cache() -> Path:
    """Return the folder of this machine's copies of students."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "kale", _FOLDER)


def _download(lake: Lake, version: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        folder = Path(temporary, version)
        for entry in lake.storage.entries(student_path(version)):
            file = folder / Path(entry.path).name
            file.parent.mkdir(exist_ok=True)
            with lake.storage.arrow.open_input_stream(entry.path) as source, file.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 22)
        if not folder.exists() or _version_of(_hashes(folder)) != version:
            raise BadData(f"The files of student {version} are missing or damaged. Train it again with --again.")
        try:
            folder.rename(target)
        except OSError:
            if not target.exists():  # otherwise another process has downloaded the same files meanwhile
                raise


def _pointer(recipe: str) -> str:
    return f"{_FOLDER}/promoted/{recipe}.json"


def _append(lake: Lake, recipe: str, entry: Callable[[list[Promoted]], Promoted]) -> Promoted:
    for _ in range(_TRIES):
        tag = lake.storage.tag(_pointer(recipe))  # read before the history: any change in between makes the put fail
        past = history(lake, recipe)
        new = entry(past)
        if past and past[-1] == new:
            return new
        if lake.storage.put_if(_pointer(recipe), _text([*past, new]), tag):
            return new
    raise Conflict("Other processes keep changing the promoted student. See `kale models history`, then try again.")


def _text(entries: list[Promoted]) -> bytes:
    return json.dumps([asdict(entry) for entry in entries], indent=1).encode()


def _forward(past: list[Promoted], version: str, why: str) -> Promoted:
    return past[-1] if past and past[-1].version == version else Promoted(version, why, utc_now())


def in_order(past: Sequence[Promoted]) -> list[str]:
    """Return the students that rollbacks would return to, in this order from the end; the last one is in use."""
    stack: list[str] = []
    for entry in past:
        if entry.back:
            stack.pop()
        else:
            stack.append(entry.version)
    return stack


def _backward(past: list[Promoted], why: str) -> Promoted:
    stack = in_order(past)
    if len(stack) < 2:
        raise BadConfig("No student was promoted before the current one. Promote one by its version instead.")
    return Promoted(stack[-2], why, utc_now(), back=True)


def _student(row: dict[str, Any]) -> Student:
    decoded = {name: json.loads(row.pop(name) or "{}") for name in ("parents", "config", "metrics", "files")}
    return Student(**row, **decoded)


def _hashes(folder: Path) -> dict[str, str]:
    return {file.name: _sha256(file) for file in sorted(folder.iterdir())}


def _sha256(file: Path) -> str:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _version_of(files: Mapping[str, str]) -> str:
    return short_sha256(json.dumps(dict(files), sort_keys=True), 16)
