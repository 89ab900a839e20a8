"""`kale evaluate`."""

from typing import Annotated

import typer

from kale_tasks.commands.options import AsJson, Sets, open_lake, say_table, settings

Keys = Annotated[list[str] | None, typer.Option("--key", help="Only this partition. May be repeated.")]


def evaluate(keys: Keys = None, sets: Sets = None, json: AsJson = False) -> None:
    """Hold alt-texts, dense captions and finished captions against the truth, where the landing brings one."""
    from kale_tasks.evaluate.truth import scores
    from kale_tasks.lake.storage import open_storage

    of = settings(sets)
    lake = open_lake(of)
    found = scores(lake, open_storage(of.landing, of.s3), keys or lake.keys("captions"))
    say_table([score.figures() for score in found], json, "Texts against the truth")
