"""`kale check` and `kale report`."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kale_tasks.cli.options import (
    AsJson,
    Key,
    Preview,
    Sets,
    open_lake,
    open_page,
    say,
    settings,
    with_preview,
)
from kale_tasks.cli.run import planned_run
from kale_tasks.contract.registry import checked_steps
from kale_tasks.errors import BadConfig, BadData, KaleError

if TYPE_CHECKING:
    from kale_tasks.quality.verdict import CheckResult
    from kale_tasks.settings import Settings

Step = Annotated[
    str,
    typer.Argument(
        help=f"{', '.join(checked_steps())}; or a pass of the recipe.", metavar="STEP", autocompletion=checked_steps
    ),
]
Release = Annotated[str | None, typer.Option("--release", help="Report on this release instead of the key.")]
Open = Annotated[bool, typer.Option("--open", help="Open it in the browser.")]
Accept = Annotated[
    str | None,
    typer.Option(
        "--accept",
        help="Accept a run that failed its checks, with a reason; `kale run` commits it. With --fingerprint: only if "
        "it is this run.",
    ),
]
Fingerprint = Annotated[str | None, typer.Option("--fingerprint", help="Fingerprint of the run, from `kale plan`.")]


def check(
    step: Step,
    key: Key,
    fingerprint: Fingerprint = None,
    accept: Accept = None,
    preview: Preview = None,
    sets: Sets = None,
    json: AsJson = False,
) -> None:
    """Check the run that blocks a key, or else the committed rows; with `--fingerprint`, a run before its commit.

    Exit code 3: a critical check failed. A run that is not committed yet then blocks its key, which keeps the rows it
    had, until a person accepts the run or another one is committed.
    """
    from kale_tasks.captions.steps import find_spec
    from kale_tasks.quality.check import accept_run

    of = settings(with_preview(sets, preview))
    step = find_spec(step, of).name
    if accept:
        result = accept_run(open_lake(of), step, key, accept, fingerprint)
    elif fingerprint:
        result = _check_planned(step, key, fingerprint, with_preview(sets, preview))
    else:
        result = _check_again(step, key, of)
    say(result.as_json(), json, _sentence(result))


def _check_planned(step: str, key: str, fingerprint: str, sets: Sets) -> "CheckResult":
    from kale_tasks.quality.check import check_run
    from kale_tasks.quality.report import check_and_report
    from kale_tasks.runner.seal import seal

    with planned_run(step, key, sets, fingerprint, None) as (run, made):
        if made.committed:
            return check_run(run.lake, run.settings, step, key)
        return check_and_report(run.lake, run.settings, seal(run, made))


def _check_again(step: str, key: str, of: "Settings") -> "CheckResult":
    from kale_tasks.quality.check import check_run
    from kale_tasks.quality.report import make_report

    lake = open_lake(of)
    try:
        return check_run(lake, of, step, key)
    except BadData:
        with suppress(KaleError):  # rows that cannot be read: the verdict says so already
            make_report(lake, of, key)
        raise


def _sentence(result: "CheckResult") -> str:
    checked = f"{len(result.checks)} checks on {result.looked_at} of {result.rows} rows in {result.seconds:.1f} s"
    noted = f"; warnings: {', '.join(result.warnings)}" if result.warnings else ""
    accepted = f"; accepted: {result.accepted['why']}" if result.accepted else ""
    return f"{result.table} {result.partition} {result.status}: {checked}{noted}{accepted}."


def report(
    key: Annotated[str | None, typer.Option("--key", help="The partition, such as 2026-11-01.")] = None,
    release: Annotated[str | None, typer.Option("--release", help="A release instead of a key.")] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Also write the page to this file.")] = None,
    preview: Preview = None,
    sets: Sets = None,
    json: AsJson = False,
) -> None:
    """Make the report on a key or a release: one HTML page and its figures as JSON."""
    from kale_tasks.quality.release_report import make_release_report
    from kale_tasks.quality.report import make_report
    from kale_tasks.quality.stored import RELEASE, report_path

    if (key is None) == (release is None):
        raise BadConfig("Give either --key or --release.")
    of = settings(with_preview(sets, preview))
    lake = open_lake(of)
    made = make_report(lake, of, key) if key else make_release_report(lake, of, str(release))
    path = report_path(key or f"{RELEASE}{release}", "html")
    place = str(out or lake.storage.uri(path))
    if out:
        out.write_bytes(lake.storage.read(path))
    if open_:
        open_page(place)
    say({"report": place, **made.summary()}, json, f"Report: {place}")
