"""What a sealed run needs no longer: parts that were merged, what attempts wrote that came too late, receipts."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.storage.base import Entry
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.receipts import is_receipt
from kale_tasks.runner.seal import SealedRun
from kale_tasks.threads import map_ahead

# Takedowns write into other folders, and their revisions name no other files of this one than `run.json` does.
_FILE = re.compile(r"\w+/(?P<run>key=[^/]+/[0-9a-f]+)/(?P<name>part-[^/]+\.parquet|run\.json|receipts/[^/]+)")


def leftovers(lake: Lake, grace: timedelta) -> Iterator[Entry]:
    """Yield such files that are older than the grace, the receipts of a run after all others.

    Receipts are deleted last and show that there is something to delete: a run without is not looked at again.
    """
    before = datetime.now(UTC) - grace
    parts: defaultdict[str, list[Entry]] = defaultdict(list)
    receipts: defaultdict[str, list[Entry]] = defaultdict(list)
    sealed: dict[str, str] = {}
    for table in TABLES:
        for entry in lake.storage.entries(table) if table != "runs" else ():  # whose files are of no single run
            if match := _FILE.fullmatch(entry.path):
                run, name = match["run"], match["name"]
                if name == "run.json":
                    sealed[run] = entry.path
                else:
                    (receipts if is_receipt(entry.path) else parts)[run].append(entry)
    runs = [run for run in receipts if run in sealed]
    for run, named in zip(runs, map_ahead(lambda run: _files(lake, sealed[run]), runs), strict=True):
        if named is not None:
            unnamed = [entry for entry in parts[run] if entry.path not in named]
            yield from (entry for entry in (*unnamed, *receipts[run]) if entry.modified < before)


def delete_leftovers(lake: Lake, entries: Iterable[Entry]) -> None:
    """Delete them; receipts only when the rest is deleted."""
    found = list(entries)
    for some in ([e for e in found if not is_receipt(e.path)], [e for e in found if is_receipt(e.path)]):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lake.storage.delete, [entry.path for entry in some]))


def _files(lake: Lake, path: str) -> set[str] | None:
    """Return the files that `run.json` names; None if it cannot be read."""
    try:
        run = SealedRun.model_validate_json(lake.storage.read(path))
    except (FileNotFoundError, ValidationError):
        return None
    return {file.path for files in run.files.values() for file in files}
