"""What a gate says, as it is stored beside the lake: figures and counts, never a row or a caption."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from kale_tasks.lake.tables import Lake
from kale_tasks.lake.verdicts import accepted_path, gate_path, read_mark


@dataclass(frozen=True)
class Outcome:
    """One check: what was expected, what was seen."""

    name: str
    severity: str
    status: str  # passed, failed, broken, or skipped when there is nothing to compare with
    says: str
    seen: float | None = None
    low: float | None = None
    high: float | None = None
    detail: str = ""


@dataclass(frozen=True)
class GateResult:
    """The verdict on one committed run."""

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
        """The checks that could not be carried out."""
        return [c.name for c in self.checks if c.status == "broken"]

    @property
    def status(self) -> str:
        """passed, warned, failed, or broken: the gate itself is at fault, nothing is known of the data."""
        found = {"failed": self.failed, "broken": self.broken, "warned": self.warnings}
        return next((status for status, names in found.items() if names), "passed")

    def as_json(self) -> dict[str, object]:
        """For machines."""
        lists = {"failed": self.failed, "warnings": self.warnings, "broken": self.broken}
        return {"status": self.status, **lists, **asdict(self)}


def store(lake: Lake, result: GateResult) -> None:
    """Keep a verdict beside the lake, in place of an earlier one on the same run."""
    text = json.dumps(result.as_json(), indent=1, ensure_ascii=False)
    lake.storage.put(gate_path(result.table, result.key, result.fingerprint), text.encode())


def read(lake: Lake, table: str, key: str, fingerprint: str) -> GateResult | None:
    """The verdict on a run, if its gate has been asked."""
    found = read_mark(lake, gate_path(table, key, fingerprint))
    if found is None:
        return None
    known = {name: found[name] for name in GateResult.__dataclass_fields__}
    accepted = read_mark(lake, accepted_path(table, key, fingerprint))
    return GateResult(**{**known, "checks": [Outcome(**check) for check in found["checks"]], "accepted": accepted})
