"""`kale evaluate`."""

from typing import Annotated

import typer

from kale_tasks.cli.options import AsJson, Sets, open_lake, say_table, settings

Keys = Annotated[list[str] | None, typer.Option("--key", help="Only this partition. May be repeated.")]


def evaluate(keys: Keys = None, sets: Sets = None, json: AsJson = False) -> None:
    """Compare alt-texts, dense captions and captions with the truth, which only keys of a sample world have."""
    from kale_tasks.lake.storage.open import open_storage
    from kale_tasks.world.truth import scores

    of = settings(sets)
    lake = open_lake(of)
    found = scores(lake, open_storage(of.landing, of.s3), keys or lake.keys("captions"))
    say_table([score.figures() for score in found], json, "Texts against the truth")
