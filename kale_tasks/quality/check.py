"""Runs the checks of a step on a committed key and stores the result."""

import time
from datetime import UTC, datetime

from kale_tasks.errors import BadData, KaleError
from kale_tasks.lake.tables import Lake
from kale_tasks.quality import drift, verdict
from kale_tasks.quality import integrity as account
from kale_tasks.quality.expectations import columns_of, on_figures, on_rows
from kale_tasks.quality.frames import ArrowFrames, Frames
from kale_tasks.quality.spark_frames import SparkFrames
from kale_tasks.quality.suite import Subject, Suite
from kale_tasks.quality.suites import find_suite
from kale_tasks.quality.verdict import CheckResult
from kale_tasks.resources import sql
from kale_tasks.settings.model import Settings


def check_run(lake: Lake, settings: Settings, step: str, key: str) -> CheckResult:
    """Run the checks of a step on what it committed for a key, and store the result.

    Raises BadData if a critical check failed and nobody accepted that, KaleError if a check itself raised an error.
    """
    result = examine(Subject(lake, settings, find_suite(step), key))
    verdict.store(lake, result)
    if result.broken:
        raise KaleError(
            f"Checks of {step} {key} raised an error (the data was not judged): {', '.join(result.broken)} "
            f"({next(c.detail for c in result.checks if c.detail)})."
        )
    stored = verdict.read(lake, result.table, key, result.fingerprint)
    if result.failed and not (stored and stored.accepted):
        raise BadData(
            f"{result.table} {result.partition} failed its checks: {'; '.join(_words(result))}. Look at `kale report "
            f'--key {key}`, then run {step} again, or take it as it is: `kale check {step} --key {key} --accept "why"`.'
        )
    return stored or result


def examine(subject: Subject) -> CheckResult:
    """The verdict on a committed partition, not stored."""
    started, suite = time.monotonic(), subject.suite
    frames, figures, lengths = _frames(subject), account.account(subject), list[int]()
    if figures["files_torn"]:
        checks = on_figures(account.LIMITS, figures)
    else:
        figures |= _queried(suite, frames)
        lengths = _lengths(frames) if suite.text else []
        figures |= suite.more(subject, figures, lengths)
        drifted, drift_limits = drift.drift(subject, figures, lengths)
        figures |= drifted
        checks = on_figures([*account.LIMITS, *suite.limits(subject), *drift_limits], figures)
        expectations = suite.expect()
        checks += on_rows(expectations, frames.frame(columns_of(expectations)), frames.engine)
    return CheckResult(
        step=suite.step,
        table=suite.table,
        partition=subject.partition,
        key=subject.key,
        fingerprint=subject.committed.fingerprint,
        snapshot_id=subject.committed.snapshot_id,
        engine=frames.engine,
        rows=subject.committed.rows,
        looked_at=0 if figures["files_torn"] else frames.looked_at,
        seconds=round(time.monotonic() - started, 3),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        checks=sorted(
            checks, key=lambda c: (["failed", "broken", "passed", "skipped"].index(c.status), c.severity, c.name)
        ),
        figures=figures,
        lengths=lengths,
    )


def _frames(subject: Subject) -> Frames:
    of = subject.settings.quality
    spark = of.engine == "spark" or (of.engine == "auto" and subject.committed.rows > of.pandas_rows)
    return SparkFrames(subject) if spark else ArrowFrames(subject)


def _queried(suite: Suite, frames: Frames) -> dict[str, float | None]:
    figures: dict[str, float | None] = {}
    for name in suite.queries:
        (row,) = frames.query(sql(f"checks/{name}"))
        figures |= {figure: None if value is None else float(value) for figure, value in row.items()}
    return figures


def _lengths(frames: Frames) -> list[int]:
    counts = {row["bin"]: row["n"] for row in frames.query(sql("checks/lengths"))}
    return [counts.get(bin_, 0) for bin_ in range(51)]


def _words(result: CheckResult) -> list[str]:
    return [
        f"{c.says.lower()} ({c.name} is {c.seen:g})" if c.seen is not None else c.says.lower()
        for c in result.checks
        if c.status == "failed" and c.severity == "critical"
    ]
