"""`kale gate` and `kale report`."""

from typing import TYPE_CHECKING, Annotated

import typer

from kale_tasks.commands.options import AsJson, Key, Sets, open_lake, say, settings

if TYPE_CHECKING:
    from kale_tasks.quality.verdict import GateResult

Step = Annotated[str, typer.Argument(help="ingest, images, dense, fuse or student.")]
Release = Annotated[str | None, typer.Option("--release", help="Report on this release instead of the key.")]
Open = Annotated[bool, typer.Option("--open", help="Open it in the browser.")]
Out = Annotated[str | None, typer.Option("--out", help="Write the page to this file too.")]
Accept = Annotated[str | None, typer.Option("--accept", help="Take what failed as it is, and say why.")]


def gate(step: Step, key: Key, accept: Accept = None, sets: Sets = None, json: AsJson = False) -> None:
    """Examine what a step committed for a key; bad data ends with code 3 and nothing may be built on it."""
    from kale_tasks.lake import marks
    from kale_tasks.quality.gate import gate as examine
    from kale_tasks.quality.suites import find_suite

    of = settings(sets)
    lake = open_lake(of)
    if accept:
        suite = find_suite(step)
        marks.accept(lake, suite.table, key, suite.slice, accept)
    result = examine(lake, of, step, key)
    say(result.as_json(), json, _sentence(result))


def _sentence(result: "GateResult") -> str:
    checked = f"{len(result.checks)} checks on {result.looked_at} of {result.rows} rows in {result.seconds:.1f} s"
    noted = f"; worth a look: {', '.join(result.warnings)}" if result.warnings else ""
    accepted = f"; accepted: {result.accepted['why']}" if result.accepted else ""
    return f"{result.table} {result.partition} {result.status}: {checked}{noted}{accepted}."


def report(key: Key, release: Release = None, open: Open = False, out: Out = None, sets: Sets = None, json: AsJson = False) -> None:
    """Write the report on a key, or on a release: one page that needs nothing else, and its figures as JSON."""
    from pathlib import Path

    from kale_tasks.quality.release_report import make_release_report
    from kale_tasks.quality.report import make_report
    from kale_tasks.quality.stored import RELEASE, report_path

    of = settings(sets)
    lake = open_lake(of)
    made = make_release_report(lake, of, release) if release else make_report(lake, of, key)
    path = report_path(f"{RELEASE}{release}" if release else key, "html")
    page = lake.storage.read(path)
    if out:
        Path(out).write_bytes(page)
    if open:
        _show(page)
    say({"report": lake.storage.uri(path), **made.summary()}, json, f"Report: {out or lake.storage.uri(path)}")
