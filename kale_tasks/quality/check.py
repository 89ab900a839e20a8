"""Runs the checks of a step on a sealed run or on committed rows, and stores the verdict."""

import time
from typing import TYPE_CHECKING

from kale_tasks.contract.registry import step_spec
from kale_tasks.errors import BadConfig, BadData, Blocked, Conflict, KaleError
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.times import utc_now
from kale_tasks.lake.verdicts import BlockedRun, accept, block, blocked_run, unblock
from kale_tasks.quality import integrity, validations, verdict
from kale_tasks.quality.checkpoint import validate
from kale_tasks.quality.drift import drift
from kale_tasks.quality.expectations import check_figures, row_outcomes
from kale_tasks.quality.frames import ArrowFrames, Frames
from kale_tasks.quality.spark_frames import SparkFrames
from kale_tasks.quality.suite import Subject, find_suite, sealed_spec
from kale_tasks.quality.suite_files import columns_of
from kale_tasks.quality.verdict import CheckResult
from kale_tasks.quality.words import sentence
from kale_tasks.resources import sql
from kale_tasks.runner.seal import SealedRun, read_sealed
from kale_tasks.settings.model import Settings

if TYPE_CHECKING:
    from great_expectations.checkpoint import CheckpointResult
    from great_expectations.checkpoint.actions import ValidationAction

_ORDER = ["failed", "broken", "passed", "skipped"]


def check_sealed(lake: Lake, settings: Settings, run: SealedRun) -> CheckResult:
    """Check a sealed run before it is committed, and store the verdict.

    Raises BadData if a critical check failed and nobody accepted that; the key is then blocked, and keeps the rows it
    had. Raises KaleError if a check itself raised an error.
    """
    result = _checked(Subject.of_sealed(lake, settings, run))
    partition = sealed_spec(run).partition(run.key)
    if not result.failed or result.accepted:
        unblock(lake.storage, partition)
        return result
    committed = lake.committed(partition.table, partition.key, partition.columns)
    blocked = BlockedRun(
        step=run.step,
        table=partition.table,
        partition=partition.name,
        folder=run.folder,
        fingerprint=run.fingerprint,
        seal_id=run.seal_id,
        base=committed.origin if committed else None,
        again=next(iter(set(run.because).difference(committed.because if committed else ())), ""),
        inputs=run.inputs,
        failed=_failures(result),
        at=result.at,
    )
    block(lake.storage, blocked)
    raise Blocked(blocked.explain(), blocked.fingerprint)


def check_run(lake: Lake, settings: Settings, step: str, key: str) -> CheckResult:
    """Check the run that blocks a key, or else the committed one, and store the verdict.

    Raises as `check_sealed`. Committed rows that fail stay committed.
    """
    find_suite(step)  # raises for a step without checks
    blocked = blocked_run(lake, step_spec(step, settings.caption.recipe).partition(key))
    if blocked and (run := read_sealed(lake.storage, blocked.folder)):
        return check_sealed(lake, settings, run)
    result = _checked(Subject.of_committed(lake, settings, step, key))
    if result.failed and not result.accepted:
        raise BadData(
            f"The committed rows of {result.table} {result.partition} fail their checks: "
            f"{'; '.join(_failures(result))}. See `kale report --key {key}`, and the rows that fail with "
            f"`kale check {step} --key {key} --failing 100 --out failing.csv`. Run {step} again, or accept the rows: "
            f"`kale check {step} --key {key} --accept REASON`."
        )
    return result


def accept_run(lake: Lake, step: str, key: str, why: str, fingerprint: str | None = None) -> CheckResult:
    """Accept the run that blocks a key, or else the committed one.

    Raises Conflict if it was never checked, or if it is not the one of `fingerprint`, which a person has looked at.
    """
    find_suite(step)
    partition = step_spec(step, lake.settings.caption.recipe).partition(key)
    blocked = blocked_run(lake, partition)
    found = blocked or Snapshot.open(lake, partition).committed
    if fingerprint not in (None, found.fingerprint):
        raise Conflict(
            f"{partition} is not at run {fingerprint} any more, but at {found.fingerprint}: nothing was accepted. "
            f"See `kale status`."
        )
    seal_id = found.seal_id
    if verdict.read(lake.storage, seal_id) is None:
        raise Conflict(
            f"{partition} was not checked, so there is nothing to accept. Run `kale run {step} --key {key}`."
        )
    accept(lake.storage, seal_id, why)
    result = verdict.read(lake.storage, seal_id)
    assert result
    return result


def _checked(subject: Subject) -> CheckResult:
    """Run all checks, store the verdict and the validation results, and run the actions."""
    lake, actions = subject.lake, _actions(subject)
    result, validated = judge(subject)
    verdict.store(lake.storage, result)
    validations.store(lake.storage, result.seal_id, validated)
    if actions:
        from kale_tasks.quality.actions import notify

        notify(actions, result, validated)
    if result.broken:
        raise KaleError(
            f"Checks of {result.step} {result.key} raised an error (the data was not judged): "
            f"{', '.join(result.broken)} ({next(c.detail for c in result.checks if c.detail)})."
        )
    return verdict.read(lake.storage, result.seal_id) or result


def _actions(subject: Subject) -> "list[ValidationAction]":
    if subject.lake.preview or not subject.settings.quality.actions:
        return []
    from kale_tasks.quality.actions import open_actions

    return open_actions(subject.settings.quality.actions)


def examine(subject: Subject) -> CheckResult:
    """Run all checks on the rows of a run; nothing is stored."""
    return judge(subject)[0]


def judge(subject: Subject) -> "tuple[CheckResult, CheckpointResult | None]":
    """Run all checks; return their result, and that of the Checkpoint if files could be read and rows are expected."""
    started, suite, lengths, validated = time.monotonic(), subject.suite, list[int](), None
    frames, figures = open_frames(subject), integrity.figures(subject)
    if figures["files_torn"]:
        checks = check_figures(integrity.LIMITS, figures)
    else:
        figures |= _queried(subject, frames)
        lengths = _lengths(frames) if suite.text else []
        figures |= suite.figures(subject, figures, lengths)
        shifts, shift_limits = drift(subject, figures, lengths)
        figures |= shifts
        checks = check_figures([*integrity.LIMITS, *suite.limits(subject), *shift_limits], figures)
        validated = check_rows(subject, frames)
        checks += row_outcomes(validated)
    result = CheckResult(
        step=subject.spec.name,
        table=subject.spec.table,
        partition=subject.rows.partition.name,
        key=subject.key,
        fingerprint=subject.committed.fingerprint,
        seal_id=subject.committed.seal_id,
        engine=frames.engine,
        rows=subject.committed.rows,
        looked_at=0 if figures["files_torn"] else frames.looked_at,
        seconds=round(time.monotonic() - started, 3),
        at=utc_now(),
        checks=sorted(checks, key=lambda c: (_ORDER.index(c.status), c.severity, c.name)),
        figures=figures,
        compared=subject.compared,
        lengths=lengths,
        baseline=subject.baseline,
    )
    return result, validated


def check_rows(subject: Subject, frames: Frames) -> "CheckpointResult | None":
    """Validate the rows against the suites; None if no suite expects anything of single rows."""
    suites = subject.suite.expectation_suites()
    if not suites:
        return None
    columns = columns_of([one for some in suites.values() for one in some], subject.suite.columns)
    return validate(str(subject.rows.partition), suites, frames.frame(columns), frames.engine)


def open_frames(subject: Subject) -> Frames:
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
    return [sentence(c) for c in result.checks if c.status == "failed" and c.severity == "critical"]
