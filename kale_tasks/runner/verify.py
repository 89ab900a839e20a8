"""Verifies what is committed: the files of every run against their recorded hashes, and against the tables."""

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from kale_tasks.contract.registry import StepSpec, spec_of
from kale_tasks.lake.damage import GONE, file_problem
from kale_tasks.lake.listing import DataFile
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.parts import read_columns
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.shards import LANDING
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.runner.seal import SealedRun, read_sealed
from kale_tasks.runner.writer import run_folder

_THREADS = 8


@dataclass(frozen=True)
class Damage:
    """A file that is not as its run wrote it."""

    path: str
    problem: str
    table: str
    key: str
    step: str
    run: str
    recipe: str = ""

    def as_row(self) -> dict[str, str]:
        """Return it as a row of a table."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.path} (table {self.table}, key {self.key}, step {self.step}, run {self.run}) {self.problem}"


@dataclass(frozen=True)
class Verified:
    """The result: how many files were read, and those that are damaged."""

    files: int
    damaged: Sequence[Damage]


@dataclass(frozen=True)
class _File:
    """A file to verify, with what was recorded of it."""

    owner: Damage  # without a problem yet
    sha256: str = ""
    size: int | None = None


def verify(lake: Lake, *, key: str = "", step: str = "", sample: float = 1.0) -> Verified:
    """Verify the committed runs (of a key, of a step): all their files, or a random share of them.

    Files are read once and completely. Whether the tables have the files of `run.json` is always compared.
    """
    files: list[_File] = []
    damaged: list[Damage] = []
    for partition, committed, found in _partitions(lake, key):
        spec = spec_of(partition)
        if spec and step in ("", spec.name):
            listed, lost = _files_of(lake, spec, partition, committed, found)
            files += listed
            damaged += lost
    unique = {file.owner.path: file for file in files}
    picked = [file for file in unique.values() if sample >= 1 or random.random() < sample]
    with ThreadPoolExecutor(_THREADS) as pool:
        problems = pool.map(lambda file: file_problem(lake.storage, file.owner.path, file.sha256, file.size), picked)
        damaged += [_damage(file.owner, problem) for file, problem in zip(picked, problems, strict=True) if problem]
    return Verified(len(picked), sorted(set(damaged), key=lambda one: (one.key, one.table, one.path)))


def _partitions(lake: Lake, key: str) -> Iterator[tuple[Partition, Committed, Sequence[DataFile]]]:
    for name in lake.tables():
        for partition, (committed, files) in lake.opened_all(name).items():
            if key in ("", partition.key):
                yield partition, committed, files


def _files_of(
    lake: Lake, spec: StepSpec, partition: Partition, committed: Committed, files: Sequence[DataFile]
) -> tuple[list[_File], list[Damage]]:
    folder = run_folder(spec.table, partition.key, committed.fingerprint)
    owner = Damage(
        f"{folder}/run.json", "", partition.table, partition.key, spec.name, committed.fingerprint, spec.recipe or ""
    )
    sealed: SealedRun | None = None
    lost: list[Damage] = []
    if partition.table != "runs":  # ledger lines are of many runs
        try:
            sealed = read_sealed(lake.storage, folder, committed.revision)
            lost = [] if sealed else [_damage(owner, "is missing")]
        except ValidationError:
            lost = [_damage(owner, "cannot be read")]
    recorded = {file.path: file for file in (sealed.files.get(partition.table, ()) if sealed else ())}
    paths = [file.path for file in files]
    listed = [
        _File(_at(owner, path), *((recorded[path].sha256, recorded[path].bytes) if path in recorded else ()))
        for path in paths
        if "://" not in path  # adopted from elsewhere: nothing is recorded of it
    ]
    if sealed and sealed.content == committed.content:
        lost += [_damage(_at(owner, path), "is not in the table") for path in recorded if path not in set(paths)]
    return [*listed, *_described_files(lake, partition, owner, files)], lost


def _described_files(lake: Lake, partition: Partition, owner: Damage, files: Sequence[DataFile]) -> Iterable[_File]:
    """Return the files that rows of a partition describe: image shards, released files, files of students."""
    for file in files if partition.table in ("images", "releases", "models") else ():
        for row in _read(lake, partition.table, file.path):
            if partition.table == "images":
                yield _File(_at(owner, row["shard"]))
            elif partition.table == "releases":
                yield _File(_at(owner, row["path"]), row["sha256"], row["bytes"])
            elif not lake.storage.exists(f"{row['path']}/{GONE}"):
                for name, sha256 in json.loads(row["files"] or "{}").items():
                    yield _File(_at(owner, f"{row['path']}/{name}"), sha256)


def _read(lake: Lake, table: str, path: str) -> list[dict[str, Any]]:
    columns = {"images": ["shard"], "releases": ["path", "sha256", "bytes"], "models": ["path", "files"]}[table]
    try:
        rows = read_columns(lake.storage, path, TABLES[table].selected(columns))
    except (OSError, pa.ArrowInvalid):  # the file itself is reported
        return []
    if table != "images":
        found: list[dict[str, Any]] = rows.to_pylist()
        return found
    shards = rows["shard"].unique().to_pylist()
    return [{"shard": shard} for shard in shards if shard and not shard.startswith(LANDING)]


def _at(owner: Damage, path: str) -> Damage:
    return replace(owner, path=path, problem="")


def _damage(owner: Damage, problem: str) -> Damage:
    return replace(owner, problem=problem)
