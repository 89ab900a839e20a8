"""`kale publish`, `kale release diff`, `kale release review` and `kale takedown`."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kale_tasks.cli.options import AsJson, Key, Sets, open_lake, say, settings
from kale_tasks.errors import BadConfig

if TYPE_CHECKING:
    from kale_tasks.lake.tables import Lake
    from kale_tasks.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Look at a built release.")
Many = list[str] | None
Student = Annotated[bool, typer.Option("--student", help="Publish the student in use instead of a release.")]
OptionalKey = Annotated[str | None, typer.Option("--key", help="The key of the release.")]


def publish(key: OptionalKey = None, student: Student = False, sets: Sets = None, json: AsJson = False) -> None:
    """Publish the newest release of a key, once its report stands, or the student in use; again changes nothing."""
    from kale_tasks.progress import make
    from kale_tasks.quality.release_report import make_release_report
    from kale_tasks.quality.stored import put_published
    from kale_tasks.release import publish as send
    from kale_tasks.release.built import read

    of = settings(sets)
    progress = make("json" if json else of.log)
    lake = open_lake(of)
    if student:
        address = send.publish_student(lake, of, progress)
    elif key:
        version = read(lake, key).version
        make_release_report(lake, of, version)
        address = send.publish(lake, of, key, progress)
        put_published(lake.storage, version)
    else:
        raise BadConfig("Say what to publish: --key KEY for its release, or --student.")
    progress.end()
    say({"address": address}, json, f"Published: {address}")


@app.command()
def diff(key: Key, sets: Sets = None, json: AsJson = False) -> None:
    """Say what publishing the newest release of a key would change for its readers."""
    from kale_tasks.release.built import read
    from kale_tasks.release.diff import diff as compare
    from kale_tasks.release.publish import target

    of = settings(sets)
    lake = open_lake(of)
    found = compare(lake, read(lake, key), target(of).current())
    say(found.as_json(), json, str(found))


@app.command()
def review(key: Key, sets: Sets = None, json: AsJson = False) -> None:
    """Write the report on the newest release of a key, and say all that a person needs to agree to it."""
    from kale_tasks.quality.release_report import make_release_report
    from kale_tasks.quality.stored import RELEASE
    from kale_tasks.release.built import read
    from kale_tasks.release.publish import target
    from kale_tasks.release.review import review as compare

    of = settings(sets)
    lake = open_lake(of)
    built = read(lake, key)
    make_release_report(lake, of, built.version)
    text = compare(lake, of, built, target(of).current())
    say({"report": f"{RELEASE}{built.version}", "text": text}, json, text)


def takedown(  # noqa: PLR0913, PLR0917 - a command has as many options as it has
    listed: Annotated[Path | None, typer.Option("--list", help="File with a uid, URL, host or SHA-256 a line.")] = None,
    uid: Annotated[Many, typer.Option(help="A uid to take down. May be repeated, like the others.")] = None,
    url: Annotated[Many, typer.Option(help="The address of an image.")] = None,
    host: Annotated[Many, typer.Option(help="A host, with all below it.")] = None,
    sha256: Annotated[Many, typer.Option(help="SHA-256 of an image's bytes.")] = None,
    pattern: Annotated[Many, typer.Option(help="A pattern (RE2) that a text matches.")] = None,
    end: Annotated[
        str | None, typer.Option(help="End the takedown of this name: old files go, a certificate comes.")
    ] = None,
    now: Annotated[bool, typer.Option("--now", help="With --end: before it is due.")] = False,
    sets: Sets = None,
    json: AsJson = False,
) -> None:
    """Take rows out of every table, index and shard, and keep them out."""
    from kale_tasks.contract.registry import STEPS, find
    from kale_tasks.lake.tombstones import read_lines
    from kale_tasks.progress import make
    from kale_tasks.takedown.certificate import certificate_path, finish
    from kale_tasks.takedown.sweep import read_record, sweep, take_down

    of = settings(sets)
    lake, progress = open_lake(of), make("json" if json else of.log)
    steps = [find(name) for name in STEPS if name not in ("distill", "release")]
    if end:
        record = sweep(lake, of, read_record(lake, end), steps, progress)
        certificate = finish(lake, of, record, now=now)
        gone = len(certificate["sha256_of_uids"])
        answer = {"name": end, "rows": gone, "certificate": certificate_path(end)}
        say(answer, json, f"Takedown {end} is over: {gone} rows are gone without a trace. See {certificate_path(end)}.")
        return
    wanted = read_lines(listed.read_text(encoding="utf-8").splitlines()) if listed else {}
    for kind, values in {"uid": uid, "url": url, "host": host, "sha256": sha256, "pattern": pattern}.items():
        wanted.setdefault(kind, []).extend(values or ())
    record = take_down(lake, of, wanted, steps, progress)
    keys: dict[str, Any] = record.get("keys", {})
    checks = _checks(lake, of, keys)
    rows = {key: known["rows"] for key, known in keys.items()}
    answer = {"name": record["name"], "due": record["due"], "rows": rows, "checks": checks}
    gone = sum(len(known["digests"]) for known in keys.values())
    red = [name for name, status in checks.items() if status == "failed"]
    said = f" These checks now fail: {', '.join(red)}." if red else ""
    say(
        answer,
        json,
        f"Takedown {record['name']}: {gone} rows are out.{said} Release and publish; it ends on {record['due']}.",
    )


def _checks(lake: "Lake", of: "Settings", keys: Iterable[str]) -> dict[str, str]:
    """Run the checks again on the keys that lost rows."""
    from kale_tasks.errors import BadData
    from kale_tasks.quality.check import check_run
    from kale_tasks.quality.committed import find

    said: dict[str, str] = {}
    for key in keys:
        for step in [found.step for found in find(lake, key)]:
            try:
                said[f"{step} {key}"] = check_run(lake, of, step, key).status
            except BadData:
                said[f"{step} {key}"] = "failed"
    return said
