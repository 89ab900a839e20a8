"""Commands for operators: `kale init`, `kale relocate`, `kale config`, `kale maintain`, `kale doctor`."""

import json as jsonlib
import os
import sys
from typing import Annotated

import typer

from kale_tasks.cli.options import AsJson, Sets, real_lake, say, say_table, settings, writable_lake
from kale_tasks.errors import Conflict

_SHOWN = 200  # characters of a value in a table


def init(sets: Sets = None, json: AsJson = False) -> None:
    """Create the lake: its folder or prefix, lake.json and the catalog. Does nothing if it exists."""
    from kale_tasks.lake.tables import Lake

    lake = Lake(settings(sets))
    place, uuid = lake.storage.root, lake.identity.uuid if lake.identity else ""
    say({"place": place, "uuid": uuid}, json, f"The lake is at {place} (uuid {uuid}).")


def relocate(
    sets: Sets = None,
    catalog_copied: Annotated[
        bool,
        typer.Option("--catalog-copied", help="The original lake does not use the catalog of these settings."),
    ] = False,
    json: AsJson = False,
) -> None:
    """Make a copied or moved lake a lake of its own. Run it on the copy; the original is not changed."""
    from kale_tasks.lake.relocate import relocate as rewrite

    done = rewrite(settings(sets), catalog_copied=catalog_copied)
    text = f"{len(done.tables)} tables of {done.origin} now belong to the lake at {done.place}."
    say(
        {"place": done.place, "origin": done.origin, "tables": list(done.tables)},
        json,
        text if done.origin != done.place else f"The lake at {done.place} is at its place; nothing to do.",
    )


def config(
    pattern: Annotated[str, typer.Argument(metavar="[PART]", help="Only settings whose name has this part.")] = "",
    changed: Annotated[bool, typer.Option("--changed", help="Only settings that are not at their default.")] = False,
    sets: Sets = None,
    schema: Annotated[bool, typer.Option(help="Print the JSON schema of a profile file, for editors.")] = False,
    json: AsJson = False,
) -> None:
    """Print the effective settings and where each comes from; secrets are masked."""
    from kale_tasks.settings import Settings, load

    if schema:
        print(jsonlib.dumps(Settings.model_json_schema(), indent=1))
        return
    loaded = load(sets or ())
    values = loaded.settings.model_dump(mode="json")
    rows = [
        {"setting": name, "value": _at(values, name), "from": origin}
        for name, origin in sorted(loaded.origins.items())
        if pattern in name and not (changed and origin == "kale.yaml")
    ]
    say_table(rows if json else [{**row, "value": str(row["value"])[:_SHOWN]} for row in rows], json)


def maintain(
    sets: Sets = None,
    dry_run: Annotated[bool, typer.Option(help="Only print what would be deleted.")] = False,
    airflow: Annotated[bool, typer.Option("--airflow", help="Delete Airflow's old logs and records, too.")] = False,
    json: AsJson = False,
) -> None:
    """Expire old snapshots, releases and students; delete what nothing uses; end takedowns that are due.

    Also deletes old scratch of this machine.
    """
    from kale_tasks.cli.maintenance import Maintenance

    of = settings(sets)
    lake = real_lake(of, "Maintenance") if dry_run else writable_lake(of, "Maintenance")
    done = Maintenance(lake, of, dry_run=dry_run).done(airflow=airflow)
    verb = "would be deleted" if dry_run else "deleted"
    many = {name: len(found) for name, found in done.items() if isinstance(found, list)}
    say(
        done,
        json,
        f"{done['snapshots']} snapshots, {done['files']} unused files ({done['bytes']:,} bytes), {many['previews']} "
        f"previews, {many['passes']} unused passes, {many['students']} students, {many['releases']} releases, "
        f"{done['scratch']} scratch folders and {done['logs']} logs {verb}.",
    )
    if overdue := {name: why for name, why in done["takedowns"].items() if why}:
        raise Conflict(" ".join(f"Takedown {name} is due and cannot end: {why}" for name, why in overdue.items()))


def doctor(sets: Sets = None, json: AsJson = False) -> None:
    """Check everything that the steps need, and say what to do about what is missing."""
    from kale_tasks.cli.doctor import examine

    found = [check.as_row() for check in examine(settings(sets))]
    say_table(found, json)
    if any(row["state"] == "broken" for row in found):
        raise typer.Exit(2)


def note() -> None:
    """Record ended Dag runs in the ledger, one JSON object per line of stdin."""
    from kale_tasks.runner.dag_runs import DagRun
    from kale_tasks.runner.dag_runs import note as write

    os.nice(10)  # runs come first
    lake, busy = writable_lake(settings(None), "The ledger of Dag runs"), []
    for line in sys.stdin:
        try:
            write(lake, DagRun(**jsonlib.loads(line)))
        except Conflict as error:  # record the others
            busy.append(str(error))
    if busy:
        raise Conflict(" ".join(busy))


def _at(values: object, name: str) -> object:
    for part in name.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values
