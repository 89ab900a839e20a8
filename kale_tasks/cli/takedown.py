"""`kale takedown`: take rows down, and end a takedown."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from kale_tasks.cli.options import AsJson, Sets, opened, real_lake, say, settings
from kale_tasks.errors import BadConfig

Listed = Annotated[
    str | None,
    typer.Option(
        "--list",
        help="File or s3:// address, with a uid, URL, host, SHA-256 or `pattern words` on each line; - reads stdin.",
    ),
]
Now = Annotated[bool, typer.Option("--now", help="With --end: before it is due.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="With --list: count the rows by key, and change nothing.")]


def takedown(
    listed: Listed = None,
    end: Annotated[str | None, typer.Option(help="End the takedown of this name and write its certificate.")] = None,
    now: Now = False,
    dry_run: DryRun = False,
    sets: Sets = None,
    json: AsJson = False,
) -> None:
    """Remove rows from every table, index and shard, and keep them out.

    Values are read from a file or from stdin only: what must be forgotten must not appear in the process list.
    """
    if bool(listed) == bool(end):
        raise BadConfig("Name either what to take down (--list FILE, or --list - for stdin) or a takedown to --end.")
    if end and dry_run:
        raise BadConfig("--dry-run is for --list: ending a takedown deletes files.")
    if end:
        _end(end, now, sets, json)
        return
    from kale_tasks.takedown.sweep import check_again, rewritten_steps, take_down

    request = _request(str(listed), sets)
    if dry_run:
        _count(request, sets, json)
        return
    with opened(sets, real="A takedown") as (lake, settings, progress):
        record = take_down(lake, settings, request, rewritten_steps(lake), progress)
        keys: dict[str, Any] = record.get("keys", {})
        checks = check_again(lake, settings, keys)
    answer = {
        "name": record["name"],
        "due": record["due"],
        "rows": {key: known["rows"] for key, known in keys.items()},
        "checks": checks,
    }
    removed = sum(len(known["digests"]) for known in keys.values())
    failed = [name for name, status in checks.items() if status == "failed"]
    warning = f" These checks fail now: {', '.join(failed)}." if failed else ""
    text = (
        f"Takedown {record['name']}: {removed} rows removed.{warning} Release and publish; end it on {record['due']}."
    )
    say(answer, json, text)


def _count(request: dict[str, list[str]], sets: list[str] | None, json: bool) -> None:
    from kale_tasks.takedown.sweep import rows_named

    found = rows_named(real_lake(settings(sets), "A takedown"), request)
    shown = "".join(f"\n{key}: {rows:,}" for key, rows in found.items())
    say({"rows": found}, json, f"The list names {sum(found.values()):,} rows. Nothing was removed.{shown}")


def _end(name: str, now: bool, sets: list[str] | None, json: bool) -> None:
    from kale_tasks.takedown.certificate import certificate_path, finish
    from kale_tasks.takedown.sweep import read_record, rewritten_steps, sweep

    with opened(sets, real="A takedown") as (lake, settings, progress):
        record = sweep(lake, settings, read_record(lake, name), rewritten_steps(lake), progress)
        certificate = finish(lake, settings, record, now=now)
    removed, path = len(certificate["sha256_of_uids"]), certificate_path(name)
    answer = {"name": name, "rows": removed, "certificate": path}
    say(answer, json, f"Takedown {name} has ended: no file contains any of its {removed} rows. Certificate: {path}")


def _request(listed: str, sets: list[str] | None) -> dict[str, list[str]]:
    from kale_tasks.lake.tombstones import read_lines

    try:
        text = _text(listed, sets)
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"The list {listed} cannot be read: {error}") from error
    return read_lines(text.splitlines())


def _text(listed: str, sets: list[str] | None) -> str:
    from kale_tasks.lake.storage.open import open_storage

    if listed == "-":
        return sys.stdin.read()
    if "://" not in listed:
        return Path(listed).read_text(encoding="utf-8")
    folder, _, name = listed.rpartition("/")
    return open_storage(folder, settings(sets).s3).read(name).decode()
