"""`kale publish`, `kale release diff`, `kale release review` and `kale release rollback`."""

from typing import Annotated

import typer

from kale_tasks.cli.options import AsJson, Key, Sets, real_lake, say, settings
from kale_tasks.errors import BadConfig

app = typer.Typer(no_args_is_help=True, help="Compare releases, or publish an older one again.")
Student = Annotated[bool, typer.Option("--student", help="Publish the promoted student instead of a release.")]
OptionalKey = Annotated[str | None, typer.Option("--key", help="The key of the release.")]


Version = Annotated[
    str | None, typer.Option("--version", help="Publish only if this is the newest release, such as one you reviewed.")
]


def publish(
    key: OptionalKey = None, version: Version = None, student: Student = False, sets: Sets = None, json: AsJson = False
) -> None:
    """Publish the newest release of a key, or the promoted student. Repeating it changes nothing."""
    from kale_tasks.progress import progress_of
    from kale_tasks.quality.release_report import make_release_report
    from kale_tasks.quality.stored import put_published
    from kale_tasks.release import publish as publishing
    from kale_tasks.release.built import read

    if student == bool(key):
        raise BadConfig("Name what to publish: either --key KEY for its release, or --student.")
    of = settings(sets)
    lake = real_lake(of, "Publishing")
    with progress_of(of.log) as progress:
        if key:
            version = version or read(lake, key).version
            make_release_report(lake, of, version)
            address = publishing.publish(lake, of, key, progress, version)
            put_published(lake.storage, version)
        else:
            address = publishing.publish_student(lake, of, progress)
    say({"address": address}, json, f"Published: {address}")


@app.command()
def diff(key: Key, sets: Sets = None, json: AsJson = False) -> None:
    """Count the rows that publishing the newest release of a key would add, remove and change."""
    from kale_tasks.release.built import read
    from kale_tasks.release.diff import diff as compare
    from kale_tasks.release.publish import target

    of = settings(sets)
    lake = real_lake(of, "A release")
    found = compare(lake, read(lake, key), target(of).current())
    say(found.as_json(), json, str(found))


@app.command()
def review(key: Key, sets: Sets = None, json: AsJson = False) -> None:
    """Print what an approver needs: changes, figures and card of the newest release. Also writes its report."""
    from kale_tasks.quality.release_report import make_release_report
    from kale_tasks.quality.stored import RELEASE
    from kale_tasks.release.built import read
    from kale_tasks.release.publish import target
    from kale_tasks.release.review import review as compare

    of = settings(sets)
    lake = real_lake(of, "A release")
    built = read(lake, key)
    make_release_report(lake, of, built.version)
    text = compare(lake, of, built, target(of).current())
    say({"report": f"{RELEASE}{built.version}", "version": built.version, "text": text}, json, text)


@app.command()
def rollback(
    to: Annotated[
        str | None, typer.Option("--to", help="The release to publish again; the one before the current one if none.")
    ] = None,
    sets: Sets = None,
    json: AsJson = False,
) -> None:
    """Publish an older release again. The newer one stays built; `kale publish` publishes it again."""
    from kale_tasks.progress import progress_of
    from kale_tasks.quality.stored import put_published
    from kale_tasks.release.publish import roll_back

    of = settings(sets)
    lake = real_lake(of, "Publishing")
    with progress_of(of.log) as progress:
        version, address = roll_back(lake, of, progress, to)
        put_published(lake.storage, version)
    say({"version": version, "address": address}, json, f"Published again: {address}")
