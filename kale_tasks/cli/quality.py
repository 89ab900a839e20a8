"""`kale check` and `kale report`."""

import sys
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
Failing = Annotated[
    int | None,
    typer.Option("--failing", min=1, help="Write up to this many rows that fail, for each failed check, to --out."),
]
Out = Annotated[Path | None, typer.Option("--out", help="File for --failing: .csv, .parquet or .jsonl.")]
Docs = Annotated[Path | None, typer.Option("--docs", help="Write Data Docs of Great Expectations into this folder.")]
Fingerprint = Annotated[str | None, typer.Option("--fingerprint", help="Fingerprint of the run, from `kale plan`.")]


def check(  # noqa: PLR0913, PLR0917
    step: Step,
    key: Key,
    fingerprint: Fingerprint = None,
    accept: Accept = None,
    failing: Failing = None,
    out: Out = None,
    docs: Docs = None,
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
    try:
        if accept:
            result = accept_run(open_lake(of), step, key, accept, fingerprint)
        elif fingerprint:
            result = _check_planned(step, key, fingerprint, with_preview(sets, preview))
        else:
            result = _check_again(step, key, of)
    except BadData:
        _write(of, step, key, (failing, out), docs)
        raise
    _write(of, step, key, (failing, out), docs)
    say(result.as_json(), json, "\n".join(result.lines))


def _write(of: "Settings", step: str, key: str, failing: tuple[int | None, Path | None], docs: Path | None) -> None:
    """Write what is asked for beside the verdict, also after checks that failed."""
    most, out = failing
    if most:
        _write_failing(of, step, key, most, out or Path(f"failing-{step}-{key}.csv"))
    if docs:
        _write_docs(of, step, key, docs)


def _write_failing(of: "Settings", step: str, key: str, most: int, out: Path) -> None:
    from kale_tasks.explore.export import export
    from kale_tasks.quality.failing import failing_rows, summary

    rows = failing_rows(open_lake(of), of, step, key, most)
    export(rows.to_batches(), rows.schema, out)
    print(f"Failing rows: {out} ({summary(rows)})", file=sys.stderr)


def _write_docs(of: "Settings", step: str, key: str, folder: Path) -> None:
    from kale_tasks.quality.committed import checked_run
    from kale_tasks.quality.data_docs import write_docs

    lake = open_lake(of)
    result = checked_run(lake, of, step, key).result
    assert result
    print(f"Data Docs: {write_docs(lake.storage, result, folder)}", file=sys.stderr)


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
