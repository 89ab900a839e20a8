"""Finds the rows that fail a check. They are looked up in the rows of the run when asked for, and stored nowhere."""

from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.tables import Lake
from kale_tasks.quality.checkpoint import unexpected_uids
from kale_tasks.quality.committed import Found, checked_run
from kale_tasks.quality.frames import BATCH, ArrowFrames
from kale_tasks.quality.outcome import Outcome
from kale_tasks.quality.suite import Subject
from kale_tasks.quality.suite_files import columns_of
from kale_tasks.resources import sql
from kale_tasks.settings.model import Settings

_QUARANTINED = "quarantined_share"
_PICKED = pa.schema([("uid", pa.string()), ("check_name", pa.string()), ("reason", pa.string()), ("place", pa.int64())])


def failing_rows(lake: Lake, settings: Settings, step: str, key: str, most: int) -> pa.Table:
    """Return the rows that fail a check of a step: uid, check, reason and values, at most `most` for each check.

    They are rows of the run that blocks the key, or else of the committed one. A check on a figure of the whole key,
    such as a mean, fails no single row. Raises Conflict if the run was never checked.
    """
    found = checked_run(lake, settings, step, key)
    result = found.result
    assert result
    if found.sealed:
        subject = Subject.of_sealed(lake, settings, found.sealed)
    else:
        subject = Subject.of_committed(lake, settings, step, key)
    readable = not result.figures["files_torn"]
    failed = [one for one in result.checks if one.status == "failed" and readable]
    picked = [*_of_quarantine(lake, found, failed, most)]
    values = subject.rows.read(0, 0, _values(subject))
    if any(one.name != _QUARANTINED for one in failed):
        frames = ArrowFrames(subject)
        values = frames.batch.select(_values(subject))
        picked += [*_of_expectations(subject, frames, failed, most), *_of_figures(frames, failed, most)]
    return _with_values(picked, values)


def summary(rows: pa.Table) -> str:
    """Say how many rows are listed for which check."""
    counts = rows.group_by("check").aggregate([("uid", "count")]).to_pylist()
    return ", ".join(f"{row['check']} {row['uid_count']}" for row in counts) or "no single row fails a check"


def _values(subject: Subject) -> list[str]:
    of_table = TABLES[subject.spec.table].arrow.names
    return list(dict.fromkeys(["uid", *(name for name in subject.suite.columns if name in of_table)]))


def _of_quarantine(lake: Lake, found: Found, failed: Sequence[Outcome], most: int) -> Iterator[dict[str, Any]]:
    rows = found.quarantine(lake) if any(one.name == _QUARANTINED for one in failed) else None
    if rows:
        for row in rows.read(0, most, ["uid", "reason", "detail"]).to_pylist():
            reason = ": ".join(part for part in (row["reason"], row["detail"]) if part)
            yield {"uid": row["uid"], "check_name": _QUARANTINED, "reason": reason, "place": -1}


def _of_expectations(
    subject: Subject, frames: ArrowFrames, failed: Sequence[Outcome], most: int
) -> Iterator[dict[str, Any]]:
    of_rows = {one.name: one for one in failed if one.suite}
    suites = {
        suite: [one for one in expectations if one.meta and one.meta["name"] in of_rows]
        for suite, expectations in subject.suite.expectation_suites().items()
    }
    suites = {suite: expectations for suite, expectations in suites.items() if expectations}
    if suites:
        named = columns_of([one for some in suites.values() for one in some], subject.suite.columns)
        frame = frames.frame(list(dict.fromkeys(["uid", *named])))
        for name, uids in unexpected_uids(str(subject.rows.partition), suites, frame).items():
            yield from _listed(of_rows[name], uids[:most], failed)


def _of_figures(frames: ArrowFrames, failed: Sequence[Outcome], most: int) -> Iterator[dict[str, Any]]:
    of_figures = {one.name.removesuffix("_shift"): one for one in failed if not one.suite}
    for query in frames.subject.suite.failing() if of_figures else ():
        uids: dict[str, list[str]] = {}
        for row in frames.query(f"{_FIRST} from ({query}) where figure is not null {_LIMIT} {most}"):
            uids.setdefault(row["figure"], []).append(row["uid"])
        for name in uids.keys() & of_figures.keys():
            yield from _listed(of_figures[name], uids[name], failed)


_FIRST = "select distinct uid, figure"
_LIMIT = "qualify dense_rank() over (partition by figure order by uid) <="


def _listed(check: Outcome, uids: Sequence[str | None], failed: Sequence[Outcome]) -> Iterator[dict[str, Any]]:
    for uid in uids:
        yield {"uid": uid, "check_name": check.name, "reason": check.says, "place": failed.index(check)}


def _with_values(picked: Sequence[dict[str, Any]], values: pa.Table) -> pa.Table:
    with duckdb.connect() as connection:
        connection.register("picked", pa.Table.from_pylist(list(picked), schema=_PICKED))
        own = {"reason": "own_reason", "check": "own_check"}  # names that the list has already
        connection.register(BATCH, values.rename_columns([own.get(name, name) for name in values.column_names]))
        return connection.sql(sql("failing/rows")).to_arrow_table()
