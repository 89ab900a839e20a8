"""`kale models` and `kale distill`: the students of a lake, and training one on many machines."""

from dataclasses import asdict
from typing import Annotated

import typer

from kale_tasks.cli.options import (
    AsJson,
    Key,
    Recipe,
    Sets,
    open_lake,
    say,
    say_table,
    settings,
    with_recipe,
    writable_lake,
)

_SHOWN = ("facts_carried", "facts_invented", "description", "bits")

app = typer.Typer(no_args_is_help=True, help="List, promote and roll back the students of a lake.")
training = typer.Typer(no_args_is_help=True, help="Plan a training, or train a student on many machines.")

Version = Annotated[str, typer.Argument(help="A version or the beginning of one.")]
Why = Annotated[str, typer.Option("--why", help="The reason, recorded in the history.")]


@app.command("list")
def list_(sets: Sets = None, json: AsJson = False) -> None:
    """List the students with origin, metrics and state."""
    from kale_tasks.models import students

    lake = open_lake(settings(sets))
    found = students.versions(lake)
    in_use = {
        one.version for recipe in {student.recipe for student in found} if (one := students.promoted(lake, recipe))
    }
    rows = [
        {
            "version": student.version,
            "key": student.key,
            "recipe": student.recipe,
            "state": "in use" if student.version in in_use else _state(student.accepted),
            **{name: student.metrics["student"][name] for name in _SHOWN},
        }
        for student in found
    ]
    say_table(rows, json)


@app.command()
def show(version: Version, sets: Sets = None, json: AsJson = False) -> None:
    """Show verdict and metrics of a student, its teacher and the student in use at that time."""
    from kale_tasks.models import students

    student = students.find(open_lake(settings(sets)), version)
    if json:
        say(asdict(student), True)
        return
    print(f"{student.version} of {student.key}: {student.verdict}\n{student.path}, from {student.base}\n")
    judged = {who: figures for who in ("student", "teacher", "in_use") if (figures := student.metrics[who])}
    say_table([{"": who, **figures} for who, figures in judged.items()], False)


@app.command()
def history(recipe: Recipe = "", sets: Sets = None, json: AsJson = False) -> None:
    """List promotions and rollbacks of a recipe's students with their reasons, the latest last."""
    from kale_tasks.models import students
    from kale_tasks.recipes.files import recipe_name

    of = settings(with_recipe(sets, recipe))
    say_table([asdict(entry) for entry in students.history(open_lake(of), recipe_name(of.caption.recipe))], json)


@app.command()
def promote(
    version: Version, why: Why, sets: Sets = None, json: AsJson = False,
    refused: Annotated[bool, typer.Option("--refused", help="Promote a refused student.")] = False,
) -> None:  # fmt: skip
    """Make a student the one in use for its recipe, for stage 2 of all later runs."""
    from kale_tasks.models import students

    entry = students.promote(writable_lake(settings(sets)), version, why, refused=refused)
    say(asdict(entry), json, f"Student {entry.version} is in use.")


@app.command()
def rollback(why: Why, recipe: Recipe = "", sets: Sets = None, json: AsJson = False) -> None:
    """Return to the student of a recipe that was in use before. Repeat to go further back."""
    from kale_tasks.models import students
    from kale_tasks.recipes.files import recipe_name

    of = settings(with_recipe(sets, recipe))
    entry = students.rollback(writable_lake(of), recipe_name(of.caption.recipe), why)
    say(asdict(entry), json, f"Student {entry.version} is in use again.")


def _state(accepted: bool) -> str:
    return "accepted" if accepted else "refused"


@training.command()
def train(key: Key = "all", recipe: Recipe = "", sets: Sets = None) -> None:
    """Train as one of the processes that torchrun has started on some machines; `kale run distill` does the rest.

    It continues from the newest checkpoint of the same run, whatever the number of processes that wrote it.
    """
    from kale_tasks.captions.steps import find_spec
    from kale_tasks.distill.launch import train_launched

    of = settings(with_recipe(sets, recipe))
    train_launched(find_spec("distill", of).load(), of, key)


@training.command("plan")
def plan_(  # noqa: PLR0913, PLR0917
    key: Key = "all",
    processes: Annotated[int | None, typer.Option(min=1, help="Processes; default: distill.train.processes.")] = None,
    tflops: Annotated[float | None, typer.Option(min=0, help="TFLOPS that one reaches; else measured here.")] = None,
    length: Annotated[int | None, typer.Option(min=1, help="Tokens of an example; else those of the captions.")] = None,
    answer: Annotated[int, typer.Option(min=1, help="Tokens of an answer, with --length.")] = 100,
    recipe: Recipe = "",
    sets: Sets = None,
    json: AsJson = False,
) -> None:
    """Say what a training will take: parameters, tokens, hours, checkpoints. No weights are loaded."""
    from kale_tasks.captions.steps import find_spec
    from kale_tasks.distill.forecast import Lengths, forecast, lengths_of
    from kale_tasks.runner.run import Run

    of = settings(with_recipe(sets, recipe))
    if length:
        lengths = Lengths(length, answer)
    else:
        lengths = lengths_of(Run(find_spec("distill", of).load(), open_lake(of), of, key))
    train = of.distill.train
    found = forecast(of.distill, lengths, processes or train.processes, of.schedule.task_hours, tflops)
    say(asdict(found), json, found.text)
