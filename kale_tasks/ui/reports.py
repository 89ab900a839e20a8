"""The stored reports as the pages show them: listed by their summaries, read as they stand."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

from kale_tasks.errors import BadConfig
from kale_tasks.lake.partition import check_key
from kale_tasks.lake.storage.base import Storage
from kale_tasks.lake.storage.open import open_storage
from kale_tasks.quality.report_paths import FOLDER, RELEASE, report_path
from kale_tasks.settings import load

_SHOWN = 200


@dataclass(frozen=True)
class Listed:
    """One report in a list."""

    name: str
    title: str
    summary: dict[str, Any]


@cache
def storage() -> Storage:
    """Where reports stand, by the settings of this process."""
    settings = load().settings
    return open_storage(settings.warehouse, settings.s3)


def listed() -> tuple[list[Listed], list[Listed]]:
    """Keys and releases with a report, the latest first."""
    ending = ".summary.json"
    paths = sorted((e.path for e in storage().entries(FOLDER) if e.path.endswith(ending)), reverse=True)
    names = [path.removeprefix(f"{FOLDER}/").removesuffix(ending) for path in paths]
    keys = [name for name in names if not name.startswith(RELEASE)][:_SHOWN]
    releases = [name for name in names if name.startswith(RELEASE)][:_SHOWN]
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(_listed, keys)), list(pool.map(_listed, releases))


def stored(name: str, kind: str) -> bytes | None:
    """A report as it stands; None for one that is not there, or a name that can be none."""
    try:
        return storage().read(report_path(check_key(name), kind))
    except (FileNotFoundError, BadConfig):
        return None


def _listed(name: str) -> Listed:
    summary = json.loads(storage().read(report_path(name, "summary.json")))
    return Listed(name, name.removeprefix(RELEASE), summary)
