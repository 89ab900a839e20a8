"""Check results as they are stored in the warehouse: figures and counts, never a row or a caption."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from kale_tasks.lake.storage.base import Storage
from kale_tasks.lake.verdicts import read_acceptance, read_verdict, verdict_path
from kale_tasks.quality.outcome import Outcome
from kale_tasks.quality.words import counted, sentence


@dataclass(frozen=True)
class CheckResult:
    """Results of all checks of one sealed run."""

    step: str
    table: str
    partition: str
    key: str
    fingerprint: str
    seal_id: str
    engine: str
    rows: int
    looked_at: int
    seconds: float
    at: str
    checks: Sequence[Outcome]
    figures: Mapping[str, float | None]
    compared: Mapping[str, str]  # partitions that it was compared with, and the seal id of each
    lengths: Sequence[int] = ()
    baseline: str = ""  # recipe and settings: only keys of the same baseline are compared
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

    @property
    def lines(self) -> list[str]:
        """Say how the checks ended, and of each that failed what was found and what is allowed."""
        on = f"{self.looked_at:,} of {self.rows:,} rows"
        accepted = [f"accepted: {self.accepted['why']}"] if self.accepted else []
        wrong = [f"{c.severity}: {sentence(c)}" for c in self.checks if c.status in {"failed", "broken"}]
        return [f"{self.table} {self.partition} {self.status}: {counted(self.checks)}, on {on}", *wrong, *accepted]

    def as_json(self) -> dict[str, object]:
        """For machines."""
        lists = {"failed": self.failed, "warnings": self.warnings, "broken": self.broken}
        return {"status": self.status, **lists, **asdict(self), "lines": self.lines}


def store(storage: Storage, result: CheckResult) -> None:
    """Store the result, replacing an earlier one of the same sealed run."""
    text = json.dumps(result.as_json(), indent=1, ensure_ascii=False)
    storage.put(verdict_path(result.seal_id), text.encode())


def read(storage: Storage, seal_id: str) -> CheckResult | None:
    """Read the stored result of a sealed run with its acceptance, or None if it was never checked."""
    found = read_verdict(storage, seal_id)
    if found is None:
        return None
    known = {name: found[name] for name in CheckResult.__dataclass_fields__ if name in found}
    known |= {"checks": [Outcome(**check) for check in found["checks"]], "accepted": read_acceptance(storage, seal_id)}
    return CheckResult(**known)
