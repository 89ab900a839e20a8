"""Keeping house: `kale config`, `kale maintain`, `kale doctor`."""

import json as jsonlib
import os
import sys
from datetime import timedelta
from typing import Annotated

import typer

from kale_tasks.cli.options import AsJson, Sets, open_lake, say, say_table, settings
from kale_tasks.errors import Conflict


def config(
    sets: Sets = None,
    schema: Annotated[bool, typer.Option(help="Print the JSON schema of a profile file, for editors.")] = False,
    json: AsJson = False,
) -> None:
    """Print the effective settings and where each came from, secrets masked."""
    from kale_tasks.settings import Settings, load

    if schema:
        print(jsonlib.dumps(Settings.model_json_schema(), indent=1))
        return
    loaded = load(sets or ())
    values = loaded.settings.model_dump(mode="json")
    rows = [
        {"setting": name, "value": _at(values, name), "from": origin} for name, origin in sorted(loaded.origins.items())
    ]
    say_table(rows, json)


def maintain(
    sets: Sets = None,
    dry_run: Annotated[bool, typer.Option(help="Only say what would go.")] = False,
    json: AsJson = False,
) -> None:
    """Let old snapshots expire and delete files that nothing uses any more."""
    from kale_tasks.lake.maintain import delete, expire, grace_of, orphans

    of = settings(sets)
    lake = open_lake(of)
    expired = expire(lake, timedelta(days=of.maintenance.keep_days), dry_run=dry_run)
    grace = grace_of(of)
    unused = list(orphans(lake, grace))
    if not dry_run:
        delete(lake, unused, grace)
    done = {
        "dry_run": dry_run,
        "snapshots": sum(len(ids) for ids in expired.values()),
        "files": len(unused),
        "bytes": sum(entry.size for entry in unused),
    }
    verb = "would go" if dry_run else "are gone"
    say(done, json, f"{done['snapshots']} snapshots and {done['files']} unused files ({done['bytes']:,} bytes) {verb}.")


def doctor(sets: Sets = None, json: AsJson = False) -> None:
    """Check everything that the steps need, and say what to do about what is missing."""
    from kale_tasks.cli.doctor import examine

    found = [check.as_row() for check in examine(settings(sets))]
    say_table(found, json)
    if any(row["state"] == "broken" for row in found):
        raise typer.Exit(2)


def note() -> None:
    """Give Dag runs that have ended their lines of the ledger: a JSON object a line, on stdin."""
    from kale_tasks.runner.dag_runs import DagRun
    from kale_tasks.runner.dag_runs import note as write

    os.nice(10)  # what the runs themselves do comes first
    lake, busy = open_lake(settings(None)), []
    for line in sys.stdin:
        try:
            write(lake, DagRun(**jsonlib.loads(line)))
        except Conflict as error:  # the others can have theirs
            busy.append(str(error))
    if busy:
        raise Conflict(" ".join(busy))


def _at(values: object, name: str) -> object:
    for part in name.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values
