"""`kale review`: captions for people to judge in other tools, and what they said."""

import getpass
import json as jsonlib
from pathlib import Path
from typing import Annotated, Literal

import typer

from kale_tasks.cli.options import AsJson, Key, Recipe, Sets, open_lake, say, settings, with_recipe, writable_lake
from kale_tasks.errors import BadConfig

app = typer.Typer(
    no_args_is_help=True, help="Export captions for people to judge in other tools, and import what they said."
)

Form = Annotated[
    Literal["argilla", "label-studio", "csv"], typer.Option("--format", help="argilla, label-studio or csv.")
]
Out = Annotated[Path, typer.Option("--out", help="File to write.")]


@app.command("export")
def export_(
    key: Key,
    out: Out,
    form: Annotated[
        Literal["argilla", "label-studio", "csv", "preferences"],
        typer.Option("--format", help="argilla, label-studio or csv: captions to judge. preferences: votes, as JSONL."),
    ] = "csv",
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, help="Captions, the first by uid.")] = 100,
    recipe: Recipe = "",
    sets: Sets = None,
    json: AsJson = False,
) -> None:
    """Write captions of a key for people to judge, or the votes that people gave."""
    from kale_tasks.explore import review_files
    from kale_tasks.recipes.files import recipe_name

    of = settings(with_recipe(sets, recipe))
    lake = open_lake(of)
    if form == "preferences":
        lines = [jsonlib.dumps(one, ensure_ascii=False) for one in review_files.preferences(lake, key)]
        text, written = "\n".join([*lines, ""]), len(lines)
    else:
        found = review_files.tasks(lake, key, recipe_name(of.caption.recipe), rows)
        text, written = review_files.FORMATS[form][0](found), len(found)
    out.write_text(text, "utf-8")
    say({"key": key, "rows": written, "out": str(out)}, json, f"{written} rows written to {out}.")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="File that people have filled in.")],
    form: Form = "csv",
    by: Annotated[str, typer.Option("--by", help="Who judged, where the file does not say.")] = "",
    sets: Sets = None,
    json: AsJson = False,
) -> None:
    """Store what people said: verdicts on sentences and edits. The same file twice is stored once."""
    from kale_tasks.explore import review_files

    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"{file} cannot be read: {error}. Name a file in UTF-8.") from error
    judged = review_files.read_judgements(text, form, by or getpass.getuser())
    done = review_files.store(writable_lake(settings(sets), real="An import"), judged)
    left = f" Left out: {done.changed} on captions that have changed, {done.unknown} on unknown rows."
    say(done.as_json(), json, f"{done.stored} judgements stored.{left if done.changed or done.unknown else ''}")
