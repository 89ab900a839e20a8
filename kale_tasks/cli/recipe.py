"""`kale recipe`: shows, checks and runs recipes."""

from pathlib import Path
from typing import Annotated

import typer

from kale_tasks.cli.options import AsJson, Key, Sets, opened, say, say_table
from kale_tasks.errors import BadConfig

app = typer.Typer(no_args_is_help=True, help=__doc__)

Name = Annotated[
    str, typer.Argument(metavar="RECIPE", help="Name of a recipe in config/recipes, or the path of a file.")
]
Files = Annotated[
    list[Path] | None, typer.Argument(metavar="[FILES]", help="Recipe files; none: all of config/recipes.")
]


@app.command()
def show(recipe: Name, json: AsJson = False) -> None:
    """Draw the passes of a recipe: what is published, with what it is made from below it."""
    from kale_tasks.recipes.recipe import drawing, load_recipe

    found = load_recipe(recipe)
    passes = [{"name": one.name, "verb": one.verb, "reads": list(dict.fromkeys(one.reads()))} for one in found.passes]
    answer = {"about": found.about, "passes": passes, "caption": found.caption, "also": found.also}
    say(answer, json, "\n".join([found.about.strip(), *drawing(found)]))


@app.command()
def run(recipe: Name, key: Key, sets: Sets = None, json: AsJson = False) -> None:
    """Run all passes of a recipe on a key, into the table `texts`. Passes that are committed are not run again."""
    from kale_tasks.captions.local_passes import run_passes
    from kale_tasks.recipes.recipe import load_recipe

    rows = []
    with opened([*(sets or ()), f"caption.recipe={recipe}"]) as (lake, of, progress):
        for it in run_passes(lake, of, load_recipe(recipe), key, progress):
            found = lake.committed("texts", key, it.step.slice)
            account = (
                {} if found is None else {name: getattr(found, name) for name in ("rows_in", "rows", "quarantined")}
            )
            rows.append({"pass": it.step.name, "made": "before" if it.committed else "now", **account})
    say_table(rows, json)


@app.command()
def lint(files: Files = None, json: AsJson = False) -> None:
    """List what is wrong with recipe files, by line. Exit code 2: something is."""
    from kale_tasks.recipes.read import recipe_problems
    from kale_tasks.recipes.recipe import recipe_path, shipped_recipes

    paths = files or [recipe_path(name) for name in shipped_recipes()]
    found = [problem for path in paths for problem in recipe_problems(recipe_path(str(path)))]
    say(found, json, "\n".join(found) or f"{len(paths)} recipes, no problems.")
    if found:
        raise typer.Exit(BadConfig.exit_code)
