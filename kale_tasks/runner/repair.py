"""Repairs damage: sets damaged files aside and makes their keys again, from what can still be read."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table

from kale_tasks.contract.registry import STEPS, StepSpec
from kale_tasks.errors import Conflict, KaleError
from kale_tasks.lake.catalog import answered
from kale_tasks.lake.hashing import short_sha256
from kale_tasks.lake.manifests import overwrite
from kale_tasks.lake.tables import Lake
from kale_tasks.progress import Progress
from kale_tasks.runner.run import REPAIR, Run
from kale_tasks.runner.seal import SealedRun
from kale_tasks.runner.verbs import execute
from kale_tasks.runner.verify import Damage, verify
from kale_tasks.settings.model import Settings

Check = Callable[[Run, SealedRun], object]
_ASIDE = "damaged"
# Tables to whose partitions commits only add: no run makes all their rows, so damaged files are taken out of them.
_ADDED_TO = ("models", "releases", "runs")


@dataclass(frozen=True)
class Repaired:
    """The result: what was damaged, the runs that were made, and what is damaged still."""

    damaged: Sequence[Damage]
    made: Mapping[str, str]  # step and key to fingerprint
    left: Mapping[str, str]  # file, or step and key, to the reason


def repair(
    lake: Lake,
    settings: Settings,
    progress: Progress,
    check: Check | None = None,
    *,
    key: str = "",
    step: str = "",
    specs: Sequence[StepSpec] = tuple(STEPS.values()),
) -> Repaired:
    """Verify all files (of a key, of a step), then make every key again that has a damaged one, in order of the steps.

    Damaged files are moved to `damaged/` first, so that no step carries over rows or images from them. The keys are
    made with today's settings, if their steps are among `specs`; `check` judges those of steps with checks, as in
    `execute`. Repeating it goes on where it stopped.
    """
    damaged = verify(lake, key=key, step=step).damaged
    for one in damaged:
        if one.problem not in ("is missing", "is not in the table"):
            _set_aside(lake, one.path)
    for name in _ADDED_TO:
        _drop_files(lake, name, {one.path for one in damaged if one.table == name})
    made: dict[str, str] = {}
    left: dict[str, str] = {}
    unknown = [one for one in damaged if one.table != "runs" and not any(_made_by(spec, one) for spec in specs)]
    left |= {one.path: f"{one.step} is of a recipe that is not configured: use --recipe" for one in unknown}
    for spec in specs:
        for of_key in sorted({one.key for one in damaged if _made_by(spec, one) and one.table != "runs"}):
            mine = [one for one in damaged if _made_by(spec, one) and one.key == of_key]
            if spec.name == "distill":
                left |= {one.path: "a student is trained by `kale run distill --key all --again` only" for one in mine}
                continue
            try:
                run = Run(spec.load(), lake, settings, of_key, again=_request(mine), progress=progress)
                made[f"{spec.name} {of_key}"] = execute(run, check and partial(check, run)).fingerprint
            except KaleError as error:
                left[f"{spec.name} {of_key}"] = str(error)
    if made:
        left |= dict(_still_damaged(lake, {one.key for one in damaged}, step, left))
    return Repaired(damaged, made, left)


def _made_by(spec: StepSpec, one: Damage) -> bool:
    return one.step == spec.name and one.recipe in ("", spec.recipe or "")


def _request(damaged: Iterable[Damage]) -> str:
    """Name the request to make a key again: the same for the same damage, so that it is answered once."""
    return f"{REPAIR}{short_sha256(' '.join(sorted(f'{one.run} {one.path}' for one in damaged)), 12)}"


def _still_damaged(lake: Lake, keys: Iterable[str], step: str, known: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for key in sorted(keys):
        for one in verify(lake, key=key, step=step, sample=1.0).damaged:
            if one.path not in known:
                yield one.path, f"{one.problem}; restore it from a backup"


def _set_aside(lake: Lake, path: str) -> None:
    lake.storage.copy(path, f"{_ASIDE}/{path}")
    lake.storage.delete(path)


def _drop_files(lake: Lake, name: str, paths: set[str]) -> None:
    """Take files out of a table in one commit; their rows are lost."""
    if not paths:
        return
    addresses = {lake.storage.uri(path) for path in paths}
    try:
        answered(lambda: _delete_files(lake.table(name), addresses), lake.catalog_uri)
    except CommitFailedException as error:
        raise Conflict(f"Another process committed to {name} at the same time. Repair again.") from error


def _delete_files(table: Table, addresses: set[str]) -> None:
    files: list[Any] = [task.file for task in table.scan().plan_files() if task.file.file_path in addresses]
    if files:
        with table.transaction() as change, overwrite(change, {}) as producer:
            for file in files:
                producer.delete_data_file(file)
