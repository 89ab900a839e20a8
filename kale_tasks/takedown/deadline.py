"""Ends takedowns that are due: maintenance does what nobody has done by then."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from kale_tasks.errors import KaleError
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.tombstones import FOLDER
from kale_tasks.progress import Progress
from kale_tasks.settings.model import Settings
from kale_tasks.takedown.certificate import certificate_path, finish
from kale_tasks.takedown.sweep import rewritten_steps, sweep


def due_takedowns(lake: Lake) -> Iterator[dict[str, Any]]:
    """Yield the record of each takedown whose time is over and that has no certificate."""
    names = sorted({entry.path.split("/")[1] for entry in lake.storage.entries(FOLDER)})
    for name in names:
        try:
            record = dict(json.loads(lake.storage.read(f"{FOLDER}/{name}/record.json")))
        except FileNotFoundError:
            continue
        is_over = "due" in record and datetime.now(UTC) >= datetime.fromisoformat(record["due"])
        if is_over and not lake.storage.exists(certificate_path(name)):
            yield record


def end_due(lake: Lake, settings: Settings, progress: Progress) -> Mapping[str, str]:
    """End every takedown that is due. Returns what keeps each from ending, by name; empty if it has ended."""
    found = {}
    for record in list(due_takedowns(lake)):
        try:
            finish(lake, settings, sweep(lake, settings, record, rewritten_steps(lake), progress))
            found[record["name"]] = ""
        except KaleError as error:  # the others have a deadline, too
            found[record["name"]] = str(error)
    return found
