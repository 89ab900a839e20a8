"""`kale check`, `kale report` and `kale evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kale_tasks.cli.options import AsJson, Key, Preview, Sets, open_lake, say, say_table, settings, with_preview
from kale_tasks.contract.registry import checked_steps, step_spec
from kale_tasks.errors import BadConfig, BadData

if TYPE_CHECKING:
    from kale_tasks.quality.verdict import CheckResult

Step = Annotated[
    str, typer.Argument(help=f"{', '.join(checked_steps())}.", metavar="STEP", autocompletion=checked_steps)
]
Release = Annotated[str | None, typer.Option("--release", help="Report on this release instead of the key.")]
Open = Annotated[bool, typer.Option("--open", help="Open it in the browser.")]
Keys = Annotated[list[str] | None, typer.Option("--key", help="Only this key. May be repeated.")]
Accept = Annotated[str | None, typer.Option("--accept", help="Accept rows that failed their checks, with a reason.")]


def check(
    step: Step,
    key: Key,
    accept: Accept = None,
    preview: Preview = None,
    sets: Sets = None,
    json: AsJson = False,
) -> None:
    """Check what a step committed for a key. Exit code 3: a critical check failed, and later steps refuse the rows."""
    from kale_tasks.lake import verdicts
    from kale_tasks.quality.check import check_run
    from kale_tasks.quality.report import make_report
    from kale_tasks.quality.suite import find_suite

    of = settings(with_preview(sets, preview))
    lake = open_lake(of)
    if accept:
        find_suite(step)  # raises for a step without checks
        spec = step_spec(step)
        verdicts.accept(lake, spec.table, key, spec.slice, accept)
    try:
        result = check_run(lake, of, step, key)
    except BadData:  # the report shows what failed, also before there are captions
        make_report(lake, of, key)
        raise
    say(result.as_json(), json, _sentence(result))


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
        typer.launch(place)
    say({"report": place, **made.summary()}, json, f"Report: {place}")


def evaluate(keys: Keys = None, sets: Sets = None, json: AsJson = False) -> None:
    """Compare alt-texts, dense captions and captions with the truth, which only keys of a sample world have."""
    from kale_tasks.lake.storage.open import open_storage
    from kale_tasks.world.truth import scores

    of = settings(sets)
    lake = open_lake(of)
    found = scores(lake, open_storage(of.landing, of.s3), keys or lake.keys("captions"))
    say_table([score.figures() for score in found], json, "Texts against the truth")
