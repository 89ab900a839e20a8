"""What the engines of a lake have spent, and whether a task may go on.

Each task keeps one small file for its run and one for the day, and reads those of the others now and then. So no task
waits for another, and a limit is exceeded at most by what is spent between two readings.
"""

import json
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from kale_tasks.errors import Paused
from kale_tasks.lake.storage.base import Storage
from kale_tasks.settings.caption import Caption, Spending

_FOLDER = "budgets"
_INTERVAL_SECONDS = 10.0
_KEPT_DAYS = 3
_Span = Literal["run", "day"]


class Ledger:
    """The files of one span of time: a run, or a day of an engine."""

    def __init__(self, storage: Storage, folder: str, limits: Spending) -> None:
        self.storage, self.folder, self.limits = storage, folder, limits
        self.own: Counter[str] = Counter()  # of integers and fractions
        self.others: Counter[str] = Counter()
        self._name = uuid.uuid4().hex

    def exchange(self) -> None:
        """Write what this task has spent, and read what others have."""
        path = f"{self.folder}/{self._name}.json"
        self.storage.put(path, json.dumps(self.own).encode())
        self.others.clear()
        for entry in self.storage.entries(self.folder):
            if not entry.path.endswith(f"{self._name}.json"):
                self.others.update(json.loads(self.storage.read(entry.path)))

    def exhausted(self) -> str:
        """Return the limit that is reached, in words; an empty text if none is."""
        for name, limit in self.limits.model_dump(exclude_none=True).items():
            spent = self.own[name] + self.others[name]
            if spent >= limit:
                return f"{name} ({spent:,.4g} of {limit:,.4g} {name.replace('_', ' ')})"
        return ""


class Budget:
    """The limits of one task, and what it spends."""

    def __init__(self, storage: Storage, settings: Caption, fingerprint: str) -> None:
        self._storage, self._settings, self._fingerprint = storage, settings, fingerprint
        self.dollars = self.device_seconds = 0.0  # spent by this task
        self._day = _today()
        self._exchanged = -_INTERVAL_SECONDS
        self._ledgers: Mapping[_Span, Ledger] = {
            span: ledger
            for span in ("run", "day")
            if (ledger := self._ledger(span)).limits.model_dump(exclude_none=True)
        }

    def spend(self, *, requests: int = 0, tokens_in: int = 0, tokens_out: int = 0, device_seconds: float = 0.0) -> None:
        """Note what was spent."""
        of = self._settings
        dollars = device_seconds / 3600 * of.device_hour_price
        dollars += (tokens_in * of.token_price_in + tokens_out * of.token_price_out) / 1e6
        self.dollars += dollars
        self.device_seconds += device_seconds
        spent = {
            "requests": requests,
            "tokens": tokens_in + tokens_out,
            "device_hours": device_seconds / 3600,
            "dollars": dollars,
        }
        for ledger in self._ledgers.values():
            ledger.own.update(spent)

    @property
    def allows_more(self) -> bool:
        """Whether no limit is reached."""
        return not self._exhausted()

    def require_more(self) -> None:
        """Raise Paused if a limit is reached."""
        found = self._exhausted()
        if not found:
            return
        span, limit = found
        until = datetime.combine(self._day + timedelta(days=1), datetime.min.time(), UTC) if span == "day" else None
        when = f"after {until:%Y-%m-%d %H:%M} UTC" if until else "with a higher limit"
        raise Paused(f"caption.budget.{span}.{limit} are spent. Finished parts are kept; run again {when}.", until)

    def close(self) -> None:
        """Leave what was spent to the other tasks, and delete the files of past days."""
        for ledger in self._ledgers.values():
            ledger.exchange()
        oldest = f"{self._day - timedelta(days=_KEPT_DAYS)}"
        for entry in self._storage.entries(f"{_FOLDER}/{self._settings.engine}") if "day" in self._ledgers else ():
            if entry.path.split("/")[-2] < oldest:
                self._storage.delete(entry.path)

    def _exhausted(self) -> tuple[_Span, str] | None:
        if not self._ledgers:
            return None
        self._start_day()
        if time.monotonic() - self._exchanged >= _INTERVAL_SECONDS:
            self._exchanged = time.monotonic()
            for ledger in self._ledgers.values():
                ledger.exchange()
        return next(((span, found) for span, one in self._ledgers.items() if (found := one.exhausted())), None)

    def _start_day(self) -> None:
        if self._day == _today() or "day" not in self._ledgers:
            return
        self._ledgers["day"].exchange()
        self._day = _today()
        self._ledgers = {**self._ledgers, "day": self._ledger("day")}
        self._exchanged = -_INTERVAL_SECONDS

    def _ledger(self, span: _Span) -> Ledger:
        engine, budget = self._settings.engine, self._settings.budget
        limits = budget.run if span == "run" else budget.day
        name = f"runs/{self._fingerprint}" if span == "run" else f"{engine}/{self._day}"
        return Ledger(self._storage, f"{_FOLDER}/{name}", limits)


def _today() -> date:
    return datetime.now(UTC).date()
