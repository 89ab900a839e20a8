"""`kale recipe`: shows and checks recipes."""

from pathlib import Path
from typing import Annotated

import typer

from kale_tasks.cli.options import AsJson, say
from kale_tasks.errors import BadConfig

app = typer.Typer(no_args_is_help=True, help="Show and check recipes.")

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
    passes = [{"name": one.name, "verb": one.verb, "reads": list(dict.fromkeys(one.needs()))} for one in found.passes]
    answer = {"about": found.about, "passes": passes, "caption": found.caption, "also": found.also}
    say(answer, json, "\n".join([found.about.strip(), *drawing(found)]))


@app.command()
def lint(files: Files = None, json: AsJson = False) -> None:
    """List what is wrong with recipe files, by line. Exit code 2: something is."""
    from kale_tasks.experts.base import EMBEDDERS, EXPERTS, SCORERS, open_embedder, open_expert, open_scorer
    from kale_tasks.recipes.files import recipe_path, shipped_recipes
    from kale_tasks.recipes.read import Installed, recipe_problems

    paths = files or [recipe_path(name) for name in shipped_recipes()]
    installed = {
        "expert": Installed("expert", EXPERTS.names, open_expert),
        "embed": Installed("embedder", EMBEDDERS.names, open_embedder),
        "score": Installed("scorer", SCORERS.names, open_scorer),
    }
    found = [problem for path in paths for problem in recipe_problems(recipe_path(str(path)), installed)]
    say(found, json, "\n".join(found) or f"{len(paths)} recipes, no problems.")
    if found:
        raise typer.Exit(BadConfig.exit_code)
