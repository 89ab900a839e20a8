"""The report on a key: gathers what is known of it, as one HTML page and as JSON."""

import itertools
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import duckdb
import pyarrow as pa

from kale_tasks.errors import BadData, Conflict, KaleError
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.times import utc_now
from kale_tasks.lake.verdicts import latest
from kale_tasks.quality import metrics, verdict
from kale_tasks.quality.check import check_sealed
from kale_tasks.quality.committed import Found, find
from kale_tasks.quality.cost import Effort, efforts
from kale_tasks.quality.current import contents
from kale_tasks.quality.encoder import matched
from kale_tasks.quality.html import render
from kale_tasks.quality.samples import Sample, samples
from kale_tasks.quality.stored import put_report
from kale_tasks.quality.verdict import CheckResult
from kale_tasks.resources import sql
from kale_tasks.runner.seal import SealedRun
from kale_tasks.runner.writer import run_folder
from kale_tasks.settings.model import Settings

Counted = Mapping[str, int]
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """All that the page of a key shows. Only `samples`, `dropped_texts` and `quarantine_details` hold text."""

    key: str
    at: str
    status: str
    funnel: Counted
    found: Sequence[Found]
    efforts: Sequence[Effort]
    image_outcomes: Counted
    quarantine: Counted
    quarantine_details: Mapping[str, Sequence[str]]
    dropped_texts: Mapping[str, Sequence[str]]
    metrics: Sequence[Mapping[str, Any]]
    fact_shares: Mapping[str, float | None]  # of the captions of both stages
    lengths: Mapping[str, Sequence[int]]
    trends: Mapping[str, Sequence[float]]
    measured: int
    samples: Sequence[Sample]

    def as_json(self) -> dict[str, Any]:
        """Return the report for machines, without pictures."""
        hidden = ("found", "samples", "dropped_texts", "quarantine_details")
        known = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in hidden}
        known |= {"efforts": [asdict(effort) for effort in self.efforts]}
        steps = [
            {"step": f.step, "recipe": f.spec.recipe, "table": f.table, "status": f.status, **asdict(f.committed)}
            for f in self.found
        ]
        checks = [f.result.as_json() for f in self.found if f.result]
        shown = [{k: v for k, v in asdict(s).items() if k != "image"} for s in self.samples]
        return {**known, "steps": steps, "checks": checks, "samples": shown}

    def summary(self) -> dict[str, Any]:
        """Return the figures that the list of reports shows."""
        rows = {f.step: f.committed.rows for f in self.found}
        counts = {
            "landing_rows": self.funnel.get("landing rows"),
            "pairs": rows.get("ingest"),
            "images": self.funnel.get("images"),
            "captions": sum(_caption_rows(self.found).values()),
        }
        known = {"key": self.key, "at": self.at, "status": self.status, **counts, **self.fact_shares}
        return {**known, "not_looked_at": "the picture", "contents": contents(self.found)}


def make_report(lake: Lake, settings: Settings, key: str, sealed: SealedRun | None = None) -> Report:
    """Make the report on a key and store its page and JSON in the warehouse; `sealed` is a run before its commit."""
    report = gather(lake, settings, key, sealed)
    page = render("key.html", report=report)
    put_report(lake.storage, key, page, report.as_json(), report.summary())
    return report


def check_and_report(lake: Lake, settings: Settings, run: SealedRun) -> CheckResult:
    """Check a sealed run before it is committed, and make the report on its key; raises as `check_sealed`."""
    try:
        result = check_sealed(lake, settings, run)
    except BadData:
        _report_or_log(lake, settings, run.key)
        raise
    _report_or_log(lake, settings, run.key, run)
    return result


def _report_or_log(lake: Lake, settings: Settings, key: str, sealed: SealedRun | None = None) -> None:
    """Make the report. What prevents it, such as a file that another process deletes, says nothing of the rows."""
    try:
        make_report(lake, settings, key, sealed)
    except (KaleError, OSError) as error:
        _LOG.warning("The report on %s was not made: %s `kale report --key %s` makes it.", key, error, key)


def gather(lake: Lake, settings: Settings, key: str, sealed: SealedRun | None = None) -> Report:
    """Gather what is known of a key, runs that are not committed in place of those that are.

    Raises Conflict if there is no run.
    """
    found = find(lake, key, blocked=True, sealed=sealed)
    if not found:
        raise Conflict(f"Nothing is committed for {key}. Run `kale run ingest --key {key}` first.")
    captions, images = metrics.captions_of(lake, settings, found), _images(lake, found)
    texts, quarantined = metrics.texts(captions), _quarantine(lake, found)
    return Report(
        key=key,
        at=utc_now(),
        status=overall([f.status for f in found]),
        funnel=funnel(found),
        found=found,
        efforts=efforts(lake, key, found),
        image_outcomes=_outcomes(images),
        quarantine={label: count for label, (count, _) in quarantined.items()},
        quarantine_details={label: details for label, (_, details) in quarantined.items() if details},
        dropped_texts=_dropped_texts(lake, key, found),
        metrics=measured(lake, settings, images, captions),
        fact_shares=metrics.fact_shares(captions, _caption_rows(found)),
        lengths=_lengths(texts),
        trends=_trends(lake, found),
        measured=captions.num_rows,
        samples=samples(lake, settings, images, captions) if images and captions.num_rows else [],
    )


def overall(statuses: Sequence[str]) -> str:
    """Return the most severe of several check statuses."""
    severe = ("blocked", "failed", "broken", "accepted", "warned", "not checked")
    return next((status for status in severe if status in statuses), "passed")


def _caption_rows(found: Sequence[Found]) -> dict[tuple[str, int], int]:
    """Return the number of captions by recipe and stage."""
    return {(f.spec.slice["recipe"], f.spec.slice["stage"]): f.committed.rows for f in found if f.table == "captions"}


def funnel(found: Sequence[Found]) -> dict[str, int]:
    """Count the rows of each step by its title. A row of a step with a yield is an attempt: only successes count."""
    counts: dict[str, int] = {}
    several = len({one.spec.recipe for one in found} - {None}) > 1
    for one in found:
        spec, rows = one.spec, one.committed.rows
        title = f"{spec.title}, {spec.recipe}" if several and spec.recipe else spec.title
        if spec.name == "ingest":
            counts["landing rows"] = one.committed.rows_in
        share = one.result.figures.get("yield_share") if one.result else None
        tried = share is None and "yield_share" in spec.watched
        counts[f"{title} tried" if tried else title] = rows if share is None else round(rows * share)
    return counts


def _images(lake: Lake, found: Sequence[Found]) -> Snapshot | None:
    return next((one.rows(lake) for one in found if one.table == "images"), None)


def _outcomes(images: Snapshot | None) -> dict[str, int]:
    columns = ["status", "reason"]
    return _counted("reports/reasons", images=images.read(0, images.count, columns)) if images else {}


def _quarantine(lake: Lake, found: Sequence[Found]) -> dict[str, tuple[int, list[str]]]:
    """Return how many rows each step has quarantined for each reason, and a few of their details."""
    opened = [rows for one in found if (rows := one.quarantine(lake))]
    tables = [rows.read(0, rows.count, ["step", "reason", "detail"]) for rows in opened]
    counted = queried("reports/quarantine", quarantine=pa.concat_tables(tables)) if tables else []
    return {f"{one['step']} · {one['name']}": (one["n"], sorted(one["examples"])) for one in counted}


def _dropped_texts(lake: Lake, key: str, found: Sequence[Found]) -> dict[str, list[str]]:
    """Read a few alt-texts that each rule of ingest dropped. Ingest has masked what may be private."""
    texts: dict[str, list[str]] = {}
    for one in found:
        if one.step == "ingest":
            folder = f"{run_folder(one.table, key, one.committed.fingerprint)}/dropped"
            for entry in itertools.islice(lake.storage.entries(folder), _DROPPED_FILES):
                for rule, rows in json.loads(lake.storage.read(entry.path)).items():
                    texts.setdefault(rule, []).extend(row["text"] for row in rows)
    return {rule: few[:_DROPPED_TEXTS] for rule, few in sorted(texts.items())}


def _counted(query: str, **views: pa.Table) -> dict[str, int]:
    rows = queried(query, **views)
    return {" · ".join(str(v) for k, v in row.items() if k != "n"): row["n"] for row in rows}


def measured(lake: Lake, settings: Settings, images: Snapshot | None, captions: pa.Table) -> list[dict[str, Any]]:
    """Measure texts: one row of figures for the alt-texts, the dense captions and the captions of each stage."""
    if not captions.num_rows:
        return []
    rows = queried("reports/metrics", texts=metrics.texts(captions))
    fits = matched(lake, settings, images, captions) if settings.quality.encoder and images else {}
    return [
        {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} | dict(fits.get(row["source"], {}))
        for row in rows
    ]


def queried(query: str, **views: pa.Table) -> list[dict[str, Any]]:
    """Run a shipped query over Arrow tables, given by name."""
    with duckdb.connect() as connection:
        for name, table in views.items():
            connection.register(name, table)
        return list(connection.sql(sql(query)).to_arrow_table().to_pylist())


def _lengths(texts: pa.Table) -> dict[str, list[int]]:
    sources = texts["source"].unique().to_pylist()
    by_source = {s: texts.filter(pa.compute.equal(texts["source"], s))["words"].to_pylist() for s in sources}
    return {source: metrics.histogram(words, 5, 51) for source, words in by_source.items()}


def _trends(lake: Lake, found: Sequence[Found]) -> dict[str, list[float]]:
    """Collect the watched figures of the latest keys up to this one."""
    trends: dict[str, list[float]] = {}
    for one in found:
        results = _results_until(lake, one)
        for name in one.spec.watched:
            values = [value for result in results if (value := result.figures.get(name)) is not None]
            if len(values) > 1:
                trends[f"{one.title}: {name}"] = values
    return trends


def _results_until(lake: Lake, one: Found) -> list[CheckResult]:
    if one.result is None:
        return []
    last = one.spec.partition(one.key)
    known = latest(lake, last, _TREND_KEYS).items()
    earlier = [c.seal_id for p, c in known if p.slice == last.slice and p.key < last.key]
    results = (verdict.read(lake.storage, seal_id) for seal_id in reversed(earlier))
    return [*(result for result in results if result and result.baseline == one.result.baseline), one.result]


_TREND_KEYS = 30
_DROPPED_FILES, _DROPPED_TEXTS = 8, 4
