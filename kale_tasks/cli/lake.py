"""Commands for the lake as a whole: `kale init`, `kale relocate`."""

from typing import Annotated

import typer

from kale_tasks.cli.options import AsJson, Sets, say, settings


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
