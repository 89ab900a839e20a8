"""Check results as they are stored in the warehouse: figures and counts, never a row or a caption."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from kale_tasks.lake.tables import Lake
from kale_tasks.lake.verdicts import accepted_path, check_path, read_mark


@dataclass(frozen=True)
class Outcome:
    """Result of one check."""

    name: str
    severity: str
    status: str  # passed, failed, broken, or skipped when there is nothing to compare with
    says: str
    seen: float | None = None
    low: float | None = None
    high: float | None = None
    detail: str = ""


@dataclass(frozen=True)
class CheckResult:
    """Results of all checks of one committed run."""

    step: str
    table: str
    partition: str
    key: str
    fingerprint: str
    snapshot_id: int
    engine: str
    rows: int
    looked_at: int
    seconds: float
    at: str
    checks: Sequence[Outcome]
    figures: Mapping[str, float | None]
    lengths: Sequence[int] = ()
    accepted: Mapping[str, str] | None = None  # why and when a person took the run all the same

    @property
    def failed(self) -> list[str]:
        """The critical checks that failed."""
        return [c.name for c in self.checks if c.status == "failed" and c.severity == "critical"]

    @property
    def warnings(self) -> list[str]:
        """The other checks that failed."""
        return [c.name for c in self.checks if c.status == "failed" and c.severity == "warning"]

    @property
    def broken(self) -> list[str]:
        """The checks that raised an error."""
        return [c.name for c in self.checks if c.status == "broken"]

    @property
    def status(self) -> str:
        """passed, warned, failed, or broken (a check raised an error, so the data was not judged)."""
        found = {"failed": self.failed, "broken": self.broken, "warned": self.warnings}
        return next((status for status, names in found.items() if names), "passed")

    def as_json(self) -> dict[str, object]:
        """For machines."""
        lists = {"failed": self.failed, "warnings": self.warnings, "broken": self.broken}
        return {"status": self.status, **lists, **asdict(self)}


def store(lake: Lake, result: CheckResult) -> None:
    """Store the result, replacing an earlier one of the same run."""
    text = json.dumps(result.as_json(), indent=1, ensure_ascii=False)
    lake.storage.put(check_path(result.table, result.key, result.fingerprint), text.encode())


def read(lake: Lake, table: str, key: str, fingerprint: str) -> CheckResult | None:
    """Read the stored result of a run with its acceptance, or None if it was never checked."""
    found = read_mark(lake, check_path(table, key, fingerprint))
    if found is None:
        return None
    known = {name: found[name] for name in CheckResult.__dataclass_fields__}
    accepted = read_mark(lake, accepted_path(table, key, fingerprint))
    return CheckResult(**{**known, "checks": [Outcome(**check) for check in found["checks"]], "accepted": accepted})
