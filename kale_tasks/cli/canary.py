"""`kale canary`: another recipe or engine on 1 % of a key, compared with the captions that it has, then kept or not."""

from typing import TYPE_CHECKING, Annotated

import typer

from kale_tasks.cli.options import (
    AsJson,
    Key,
    Recipe,
    Sets,
    opened,
    say,
    say_table,
    settings,
    with_preview,
    with_recipe,
)
from kale_tasks.cli.run import check_run

if TYPE_CHECKING:
    from kale_tasks.explore.canary import Comparison

app = typer.Typer(
    no_args_is_help=True,
    help="Try another recipe or engine on 1 % of a key, compare the captions with those that it has, keep or drop it.",
)

Name = Annotated[str, typer.Option("--name", help="Name of the canary; it is the name of its preview, too.")]
Share = Annotated[float, typer.Option("--share", min=0, max=1, help="Share of the images of the key; at least 20.")]
AllKeys = Annotated[bool, typer.Option("--all-keys", help="All keys that have images, not only that of the canary.")]


@app.command()
def start(
    key: Key, recipe: Recipe = "", name: Name = "canary", share: Share = 0.01, sets: Sets = None, json: AsJson = False
) -> None:
    """Caption a share of a key with another recipe (--recipe) or engine (--set caption.engine=…), and compare."""
    from kale_tasks.explore import canary

    changed = settings(with_recipe(with_preview(sets, name), recipe))
    as_now = [one for one in sets or () if not one.startswith("caption.")]  # what `changed` is compared with
    with opened(as_now, real="A canary") as (lake, present, progress):
        made = canary.start(lake, changed, present, key, share, progress)
        _say(canary.compare(lake, made), json)


@app.command()
def show(name: Name = "canary", sets: Sets = None, json: AsJson = False) -> None:
    """Compare a canary with the captions that its key has."""
    from kale_tasks.explore import canary

    with opened(sets, real="A comparison") as (lake, _, _progress):
        _say(canary.compare(lake, canary.find(lake, name)), json)


@app.command()
def apply(name: Name = "canary", all_keys: AllKeys = False, sets: Sets = None, json: AsJson = False) -> None:
    """Caption the whole key, or all keys, with the recipe of a canary, with checks; then drop the canary."""
    from kale_tasks.explore import canary

    with opened(sets, real="A canary") as (lake, of, progress):
        found = canary.find(lake, name)
        keys = lake.keys("images") if all_keys else [found.key]
        made = canary.apply(lake, canary.settings_of(found, of), keys, progress, check_run)
        canary.drop(lake, found)
    text = f"Captioned with {found.recipe}: {', '.join(made)}. To go on with it, set caption.recipe={found.recipe}."
    say({"recipe": found.recipe, "captions": made}, json, text)


@app.command()
def drop(name: Name = "canary", sets: Sets = None, json: AsJson = False) -> None:
    """Delete a canary with all that it made."""
    from kale_tasks.explore import canary

    with opened(sets, real="A canary") as (lake, _, _progress):
        canary.drop(lake, canary.find(lake, name))
    say({"dropped": name}, json, f"The canary '{name}' is gone. The captions of the lake are as they were.")


def _say(found: "Comparison", json: bool) -> None:
    if json:
        say(found.as_json(), True)
        return
    one = found.canary
    print(f"{one.name}: {one.recipe} ({one.engine}) on {one.rows} images of {one.key}, beside {one.present}")
    rows = [{"": name, "present": values[0], "canary": values[1]} for name, values in found.figures.items()]
    say_table(rows, False)
    lost = ", ".join(f"{reason} {number}" for reason, number in found.lost.items())
    print(
        f"Both: {found.both}; only present: {found.only_present}; only canary: {found.only_canary}; lost: {lost or 0}"
    )
    print(f"Keep it: kale canary apply --name {one.name}; or not: kale canary drop --name {one.name}")
