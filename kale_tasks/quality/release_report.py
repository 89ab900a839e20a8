"""The report on a release: its keys, the results of their checks, and figures of their texts."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kale_tasks.errors import BadConfig
from kale_tasks.lake.io_errors import reading
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.times import utc_now
from kale_tasks.models import students as registry
from kale_tasks.quality import metrics
from kale_tasks.quality.committed import find
from kale_tasks.quality.html import render
from kale_tasks.quality.report import measured, overall, queried
from kale_tasks.quality.samples import Sample, samples
from kale_tasks.quality.stored import RELEASE, put_report, read_report
from kale_tasks.settings.model import Settings


@dataclass(frozen=True)
class ReleasedKey:
    """What a release contains of one key."""

    key: str
    stage1: int
    stage2: int
    files: int
    bytes: int
    status: str
    figures: Mapping[str, float | None]


@dataclass(frozen=True)
class ReleaseStudent:
    """A student that wrote captions of a release, and its loss curve as a data URI."""

    student: registry.Student
    curve: str


@dataclass(frozen=True)
class ReleaseReport:
    """All that the page of a release shows. Texts are measured and sampled from its latest key."""

    version: str
    at: str
    built: str  # when the release was built; for one that a newer run has replaced, when it was first reported
    status: str
    keys: Sequence[ReleasedKey]
    students: Sequence[ReleaseStudent]
    metrics: Sequence[Mapping[str, Any]]
    samples: Sequence[Sample]

    @property
    def rows(self) -> int:
        """Captions in the release."""
        return sum(part.stage1 + part.stage2 for part in self.keys)

    def summary(self) -> dict[str, Any]:
        """Return the figures that the list of reports shows."""
        known = {"version": self.version, "at": self.at, "built": self.built, "status": self.status}
        return {**known, "keys": len(self.keys), "rows": self.rows}

    def as_json(self) -> dict[str, Any]:
        """Return the report for machines, without pictures."""
        whole = asdict(self)
        for shown, picture in (("samples", "image"), ("students", "curve")):
            whole[shown] = [{k: v for k, v in one.items() if k != picture} for one in whole[shown]]
        return {**whole, "rows": self.rows}


def make_release_report(lake: Lake, settings: Settings, version: str) -> ReleaseReport:
    """Make the report on a release and store it. Raises BadConfig if there is no such release."""
    releases = lake.arrow("releases")
    files = releases.filter(pc.equal(releases["version"], version))
    if not files.num_rows:
        known = sorted(set(releases["version"].to_pylist()))
        raise BadConfig(f"There is no release '{version}'. Releases: {', '.join(known) or 'none yet'}.")
    keys = [_released_key(lake, row) for row in queried("reports/release", files=files)]
    found = find(lake, keys[0].key)
    captions = metrics.captions_of(lake, settings, found)
    images = next((one.rows(lake) for one in found if one.table == "images"), None)
    at = utc_now()
    report = ReleaseReport(
        version=version,
        at=at,
        built=_built(lake, files["key"][0].as_py(), version) or at,
        status=overall([part.status for part in keys]),
        keys=keys,
        students=list(_students(lake, files)),
        metrics=measured(lake, settings, images, captions),
        samples=samples(lake, settings, images, captions) if images and captions.num_rows else [],
    )
    page = render("release.html", report=report)
    put_report(lake.storage, f"{RELEASE}{version}", page, report.as_json(), report.summary())
    return report


def _built(lake: Lake, key: str, version: str) -> str | None:
    committed = lake.committed("releases", key)
    if committed and version == f"{key}-{committed.fingerprint[:8]}":
        return committed.at
    stored = read_report(lake.storage, f"{RELEASE}{version}", "summary.json")
    return json.loads(stored).get("built") if stored else None


def _released_key(lake: Lake, row: Mapping[str, Any]) -> ReleasedKey:
    found = [one for one in find(lake, row["source"]) if one.table == "captions"]
    names = ("words_mean", "alt_used_share", "invented_share")
    results = [one.result for one in found if one.result]
    figures = {f"{result.step} {name}": result.figures.get(name) for result in results for name in names}
    counts = {name: int(row[name]) for name in ("stage1", "stage2", "files", "bytes")}
    return ReleasedKey(key=row["source"], **counts, status=overall([one.status for one in found]), figures=figures)


def _students(lake: Lake, files: pa.Table) -> Iterator[ReleaseStudent]:
    named = {name for stats in files["stats"].to_pylist() if stats for name in json.loads(stats).get("models", {})}
    for student in registry.versions(lake):
        if f"{registry.NAMED}{student.version}" in named:
            with reading("student", student.version):
                drawn = base64.b64encode(lake.storage.read(f"{student.path}/loss.svg"))
            yield ReleaseStudent(student, f"data:image/svg+xml;base64,{drawn.decode()}")
