"""`kale publish`, `kale release diff` and `kale takedown`."""

from typing import Annotated

import typer

from kale_tasks.commands.options import AsJson, Key, Sets, open_lake, say, settings
from kale_tasks.errors import BadConfig

release = typer.Typer(no_args_is_help=True, help="Look at a built release.")
Many = list[str] | None
Student = Annotated[bool, typer.Option("--student", help="Publish the student in use instead of a release.")]
OptionalKey = Annotated[str | None, typer.Option("--key", help="The key of the release.")]


def publish(key: OptionalKey = None, student: Student = False, sets: Sets = None, json: AsJson = False) -> None:
    """Publish the newest release of a key, or the student in use; doing it again changes nothing."""
    from kale_tasks.progress import make
    from kale_tasks.publish import send

    of = settings(sets)
    progress = make("json" if json else of.log)
    if student:
        address = send.publish_student(open_lake(of), of, progress)
    elif key:
        address = send.publish(open_lake(of), of, key, progress)
    else:
        raise BadConfig("Say what to publish: --key KEY for its release, or --student.")
    progress.end()
    say({"address": address}, json, f"Published: {address}")


@release.callback()
def _group() -> None:
    """Makes `diff` a command of its own, although it is the only one."""


@release.command()
def diff(key: Key, sets: Sets = None, json: AsJson = False) -> None:
    """Say what publishing the newest release of a key would change for its readers."""
    from kale_tasks.publish.diff import diff as compare
    from kale_tasks.publish.release import read
    from kale_tasks.publish.send import target

    of = settings(sets)
    lake = open_lake(of)
    found = compare(lake, read(lake, key), target(of).current())
    say(found.as_json(), json, str(found))
