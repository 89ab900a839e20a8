"""`kale models`: the students of a lake, and which one is in use."""

from typing import Annotated

import typer

from kale_tasks.cli.options import AsJson, Sets, open_lake, say, say_table, settings

_SHOWN = ("facts_carried", "facts_invented", "description", "bits")

app = typer.Typer(no_args_is_help=True, help=__doc__)

Version = Annotated[str, typer.Argument(help="A version, or how it begins.")]
Why = Annotated[str, typer.Option("--why", help="The reason, for the history.")]


@app.command("list")
def list_(sets: Sets = None, json: AsJson = False) -> None:
    """List every student: where it comes from, its figures, whether it is in use."""
    from kale_tasks.models import students as registry

    lake = open_lake(settings(sets))
    in_use = registry.promoted(lake)
    rows = [
        {
            "version": student.version,
            "key": student.key,
            "recipe": student.recipe,
            "state": "in use" if in_use and in_use.version == student.version else _state(student.accepted),
            **{name: student.metrics["student"][name] for name in _SHOWN},
        }
        for student in registry.versions(lake)
    ]
    say_table(rows, json)


@app.command()
def show(version: Version, sets: Sets = None, json: AsJson = False) -> None:
    """Show all that is known of a student."""
    from dataclasses import asdict

    from kale_tasks.models import students as registry

    student = registry.find(open_lake(settings(sets)), version)
    if json:
        say(asdict(student), True)
        return
    print(f"{student.version} of {student.key}: {student.verdict}\n{student.path}, from {student.base}\n")
    judged = {who: figures for who in ("student", "teacher", "in_use") if (figures := student.metrics[who])}
    say_table([{"": who, **figures} for who, figures in judged.items()], False)


@app.command()
def history(sets: Sets = None, json: AsJson = False) -> None:
    """List the promotions and rollbacks with their reasons, the latest last."""
    from dataclasses import asdict

    from kale_tasks.models import students as registry

    say_table([asdict(entry) for entry in registry.history(open_lake(settings(sets)))], json)


@app.command()
def promote(
    version: Version, why: Why, sets: Sets = None, json: AsJson = False,
    refused: Annotated[bool, typer.Option("--refused", help="Even if its gate refused it.")] = False,
) -> None:  # fmt: skip
    """Put a student to use."""
    from dataclasses import asdict

    from kale_tasks.models import students as registry

    entry = registry.promote(open_lake(settings(sets)), version, why, refused=refused)
    say(asdict(entry), json, f"Student {entry.version} is in use.")


@app.command()
def rollback(why: Why, sets: Sets = None, json: AsJson = False) -> None:
    """Put the student that was in use before to use again."""
    from dataclasses import asdict

    from kale_tasks.models import students as registry

    entry = registry.rollback(open_lake(settings(sets)), why)
    say(asdict(entry), json, f"Student {entry.version} is in use again.")


def _state(accepted: bool) -> str:
    return "accepted" if accepted else "refused"
