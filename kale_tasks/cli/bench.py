"""`kale bench`: measures this machine."""

from enum import StrEnum
from typing import Annotated

import typer

from kale_tasks.cli.options import AsJson, Recipe, Sets, say, settings, with_recipe

app = typer.Typer(no_args_is_help=True, help="Measure this machine.")


class Weights(StrEnum):
    """Which model is measured."""

    AUTO = "auto"
    REAL = "real"
    TINY = "tiny"
    RECIPE = "recipe"


@app.callback()
def _group() -> None:
    """Measures this machine."""


@app.command()
def caption(
    task: Annotated[str, typer.Option("--task", help="A pass that asks a model, or `student`.")] = "dense",
    weights: Annotated[
        Weights,
        typer.Option(
            "--weights",
            help="Random ones in the real size of the recipe's model or in a tiny one, or those of the recipe's model; "
            "auto: real on a GPU, else tiny, if the architecture is known.",
        ),
    ] = Weights.AUTO,
    count: Annotated[int, typer.Option("--pictures", min=1, help="Requests, each with a picture of its own.")] = 256,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Turns of each contender.")] = 3,
    recipe: Recipe = "",
    sets: Sets = None,
    json: AsJson = False,
) -> None:
    """Measure how fast the configured engine captions, beside the bare library that it runs, on the same requests.

    Prints a page with a table: requests and tokens a second, CPU time, the share of the time in which devices have
    nothing to do, and the ratios to the bare library; and a line for `verified` of the recipe. Needs no lake.
    """
    from kale_tasks.bench.caption import Wanted, family_of, measure_caption
    from kale_tasks.bench.machine import gpus_of
    from kale_tasks.recipes.recipe import load_recipe

    of = settings(with_recipe(sets, recipe)).caption
    asked = load_recipe(of.recipe)
    if weights is Weights.AUTO:
        random = Weights.REAL if gpus_of(of) else Weights.TINY
        weights = random if family_of(asked.task(task)) else Weights.RECIPE
    wanted = Wanted(asked, task, weights.value, count, rounds)
    found = measure_caption(of, wanted)
    say({"rows": list(found.rows()), "verified": found.verified}, json, found.page())
