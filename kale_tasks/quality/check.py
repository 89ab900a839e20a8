"""Runs the checks of a step on a committed key and stores the result."""

import time

from kale_tasks.contract.registry import step_spec
from kale_tasks.errors import BadConfig, BadData, KaleError
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.times import utc_now
from kale_tasks.quality import integrity, verdict
from kale_tasks.quality.drift import drift
from kale_tasks.quality.expectations import check_figures, check_rows, columns_of
from kale_tasks.quality.frames import ArrowFrames, Frames
from kale_tasks.quality.spark_frames import SparkFrames
from kale_tasks.quality.suite import Subject, find_suite
from kale_tasks.quality.verdict import CheckResult, Outcome
from kale_tasks.resources import sql
from kale_tasks.settings.model import Settings

_ORDER = ["failed", "broken", "passed", "skipped"]


def check_run(lake: Lake, settings: Settings, step: str, key: str) -> CheckResult:
    """Run the checks of a step on what it committed for a key, and store the result.

    Raises BadData if a critical check failed and nobody accepted that, KaleError if a check itself raised an error.
    """
    suite = find_suite(step)  # raises for a step without checks
    result = examine(Subject(lake, settings, step_spec(step), key, suite))
    verdict.store(lake, result)
    if result.broken:
        raise KaleError(
            f"Checks of {step} {key} raised an error (the data was not judged): {', '.join(result.broken)} "
            f"({next(c.detail for c in result.checks if c.detail)})."
        )
    stored = verdict.read(lake, result.table, key, result.fingerprint)
    if result.failed and not (stored and stored.accepted):
        raise BadData(
            f"{result.table} {result.partition} failed its checks: {'; '.join(_failures(result))}. "
            f"See `kale report --key {key}`. Then run {step} again, or accept the rows: "
            f'`kale check {step} --key {key} --accept "reason"`.'
        )
    return stored or result


def examine(subject: Subject) -> CheckResult:
    """Run all checks on a committed partition; nothing is stored."""
    started, suite, lengths = time.monotonic(), subject.suite, list[int]()
    frames, figures = _frames(subject), integrity.figures(subject)
    if figures["files_torn"]:
        checks = check_figures(integrity.LIMITS, figures)
    else:
        figures |= _queried(subject, frames)
        lengths = _lengths(frames) if suite.text else []
        figures |= suite.figures(subject, figures, lengths)
        shifts, shift_limits = drift(subject, figures, lengths)
        figures |= shifts
        checks = check_figures([*integrity.LIMITS, *suite.limits(subject), *shift_limits], figures)
        expectations = suite.expectations()
        checks += check_rows(expectations, frames.frame(columns_of(expectations)), frames.engine)
    return CheckResult(
        step=subject.spec.name,
        table=subject.spec.table,
        partition=subject.partition.name,
        key=subject.key,
        fingerprint=subject.committed.fingerprint,
        snapshot_id=subject.committed.snapshot_id,
        engine=frames.engine,
        rows=subject.committed.rows,
        looked_at=0 if figures["files_torn"] else frames.looked_at,
        seconds=round(time.monotonic() - started, 3),
        at=utc_now(),
        checks=sorted(checks, key=lambda c: (_ORDER.index(c.status), c.severity, c.name)),
        figures=figures,
        lengths=lengths,
    )


def _frames(subject: Subject) -> Frames:
    of = subject.settings.quality
    spark = of.engine == "spark" or (of.engine == "auto" and subject.committed.rows > of.pandas_rows)
    return SparkFrames(subject) if spark else ArrowFrames(subject)


def _queried(subject: Subject, frames: Frames) -> dict[str, float | None]:
    figures: dict[str, float | None] = {}
    for query in subject.suite.queries():
        (row,) = frames.query(query)
        if twice := figures.keys() & row.keys():
            raise BadConfig(
                f"Two queries of the checks of {subject.spec.name} return the figure '{min(twice)}'. Rename one."
            )
        figures |= {figure: None if value is None else float(value) for figure, value in row.items()}
    return figures


def _lengths(frames: Frames) -> list[int]:
    """Histogram of words per text, in bins of five; the last bin holds 250 words and more."""
    counts = {row["bin"]: row["n"] for row in frames.query(sql("checks/lengths"))}
    return [counts.get(bin_, 0) for bin_ in range(51)]


def _failures(result: CheckResult) -> list[str]:
    return [_failure(c) for c in result.checks if c.status == "failed" and c.severity == "critical"]


def _failure(check: Outcome) -> str:
    if check.seen is None:
        return f"{check.name}, expected: {check.says}"
    bounds = [f"at least {check.low:g}"] if check.low not in (None, check.high) else []
    bounds += [f"at most {check.high:g}"] if check.high is not None else []
    return f"{check.name} is {check.seen:g} ({' and '.join(bounds)} allowed), expected: {check.says}"
