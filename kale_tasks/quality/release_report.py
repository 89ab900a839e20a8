"""The report on a release: its keys, the results of their checks, and figures of their texts."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kale_tasks.errors import BadConfig
from kale_tasks.lake.io_errors import reading
from kale_tasks.lake.tables import Lake
from kale_tasks.models import students as registry
from kale_tasks.quality import metrics
from kale_tasks.quality.committed import find
from kale_tasks.quality.report import measured, overall, put, queried
from kale_tasks.quality.report_paths import RELEASE
from kale_tasks.quality.samples import Sample, samples
from kale_tasks.settings.model import Settings


@dataclass(frozen=True)
class Part:
    """What a release holds of one key."""

    key: str
    stage1: int
    stage2: int
    files: int
    bytes: int
    status: str
    figures: Mapping[str, float | None]


@dataclass(frozen=True)
class Writer:
    """A student that wrote captions of a release, and the picture of how it learned."""

    student: registry.Student
    curve: str


@dataclass(frozen=True)
class ReleaseReport:
    """A release in full; texts are measured and shown for its latest key."""

    version: str
    at: str
    status: str
    parts: Sequence[Part]
    writers: Sequence[Writer]
    metrics: Sequence[Mapping[str, Any]]
    samples: Sequence[Sample]

    @property
    def rows(self) -> int:
        """Captions in it."""
        return sum(part.stage1 + part.stage2 for part in self.parts)

    def summary(self) -> dict[str, Any]:
        """A line of a list."""
        return {
            "version": self.version,
            "at": self.at,
            "status": self.status,
            "keys": len(self.parts),
            "rows": self.rows,
        }

    def as_json(self) -> dict[str, Any]:
        """For machines; without pictures."""
        whole = asdict(self)
        for shown, picture in (("samples", "image"), ("writers", "curve")):
            whole[shown] = [{k: v for k, v in one.items() if k != picture} for one in whole[shown]]
        return {**whole, "rows": self.rows}


def make_release_report(lake: Lake, settings: Settings, version: str) -> ReleaseReport:
    """Gather a release's report and put it beside the lake."""
    from kale_tasks.quality.html import render

    every = lake.arrow("releases")
    files = every.filter(pc.equal(every["version"], version))
    if not files.num_rows:
        known = sorted(set(every["version"].to_pylist()))
        raise BadConfig(f"There is no release '{version}'. Releases: {', '.join(known) or 'none yet'}.")
    parts = [_part(lake, row) for row in queried("reports/release", files=files)]
    captions = metrics.captions_of(lake, settings, parts[0].key)
    report = ReleaseReport(
        version=version,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        status=overall([part.status for part in parts]),
        parts=parts,
        writers=list(_writers(lake, files)),
        metrics=measured(lake, settings, parts[0].key, captions),
        samples=samples(lake, settings, parts[0].key, captions) if captions.num_rows else [],
    )
    put(lake, f"{RELEASE}{version}", render("release.html", report=report), report.as_json(), report.summary())
    return report


def _part(lake: Lake, row: Mapping[str, Any]) -> Part:
    found = [one for one in find(lake, row["source"]) if one.table == "captions"]
    names = ("words_mean", "alt_used_share", "invented_share")
    results = [one.result for one in found if one.result]
    figures = {f"{result.step} {name}": result.figures.get(name) for result in results for name in names}
    counts = {name: int(row[name]) for name in ("stage1", "stage2", "files", "bytes")}
    return Part(key=row["source"], **counts, status=overall([one.status for one in found]), figures=figures)


def _writers(lake: Lake, files: pa.Table) -> Iterator[Writer]:
    named = {name for told in files["stats"].to_pylist() if told for name in json.loads(told).get("models", {})}
    for student in registry.versions(lake):
        if f"{registry.NAMED}{student.version}" in named:
            with reading("student", student.version):
                drawn = base64.b64encode(lake.storage.read(f"{student.path}/loss.svg"))
            yield Writer(student, f"data:image/svg+xml;base64,{drawn.decode()}")
