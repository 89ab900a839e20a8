"""What the engines of a lake have spent, and whether a task may go on.

Each task keeps one small file for its run and one for the day, and reads those of the others now and then. So no task
waits for another, and a limit is exceeded at most by what is spent between two readings. A task that is killed leaves
out of its files at most a second's spending, and less than a hundredth of each limit. Maintenance deletes old files.
"""

import json
import logging
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from kale_tasks.errors import Paused
from kale_tasks.lake.maintain import BUDGETS
from kale_tasks.lake.storage.base import Storage
from kale_tasks.settings.caption import Caption, Spending

_READ_SECONDS, _WRITE_SECONDS, _WRITE_SHARE = 10.0, 1.0, 0.01
_LOG = logging.getLogger(__name__)
_Span = Literal["run", "day"]


class Spent:
    """What was spent in one span of time, a run or a day of an engine: a file for each task."""

    def __init__(self, storage: Storage, folder: str, limits: Spending) -> None:
        self.storage, self.folder = storage, folder
        self.limits: dict[str, float] = limits.model_dump(exclude_none=True)
        self.own: Counter[str] = Counter()  # of integers and fractions
        self._path = f"{folder}/{uuid.uuid4().hex}.json"
        self._written: Counter[str] = Counter()
        self._wrote = -_WRITE_SECONDS
        self._others: dict[str, Counter[str]] = {}  # by file

    def add(self, spent: Mapping[str, float]) -> None:
        """Note what this task has spent, and write it now and then."""
        self.own.update(spent)
        unwritten = (self.own[name] - self._written[name] >= _WRITE_SHARE * at for name, at in self.limits.items())
        if time.monotonic() - self._wrote >= _WRITE_SECONDS or any(unwritten):
            self.write()

    def write(self) -> None:
        """Write what this task has spent."""
        self.storage.put(self._path, json.dumps(self.own).encode())
        self._written, self._wrote = self.own.copy(), time.monotonic()

    def exchange(self) -> None:
        """Write what this task has spent, and read what others have."""
        self.write()
        for entry in self.storage.entries(self.folder):
            if entry.path != self._path:
                self._read(entry.path)

    def exhausted(self) -> str:
        """Return the limit that is reached, in words; an empty text if none is."""
        for name, limit in self.limits.items():
            spent = self.own[name] + sum(other[name] for other in self._others.values())
            if spent >= limit:
                return f"{name} ({spent:,.4g} of {limit:,.4g} {name.replace('_', ' ')})"
        return ""

    def _read(self, path: str) -> None:
        """Read the file of another task; one that is damaged counts as it was read before."""
        try:
            spent = json.loads(self.storage.read(path))
            self._others[path] = Counter({name: spent.get(name, 0) + 0 for name in self.limits})
        except FileNotFoundError:
            pass  # maintenance has deleted it since it was listed
        except (ValueError, AttributeError, TypeError):
            if path not in self._others:
                self._others[path] = Counter()
                _LOG.warning("%s is damaged: what its task has spent is not counted. Delete the file.", path)


class Budget:
    """The limits of one task, and what it spends."""

    def __init__(self, storage: Storage, settings: Caption, fingerprint: str) -> None:
        self._storage, self._settings, self._fingerprint = storage, settings, fingerprint
        self.dollars = self.device_seconds = 0.0  # spent by this task
        self._day = _today()
        self._exchanged = -_READ_SECONDS
        self._spans: Mapping[_Span, Spent] = {
            span: one for span in ("run", "day") if (one := self._spent_in(span)).limits
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
        for one in self._spans.values():
            one.add(spent)

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
        """Leave what was spent to the other tasks."""
        for one in self._spans.values():
            one.write()

    def _exhausted(self) -> tuple[_Span, str] | None:
        if not self._spans:
            return None
        self._start_day()
        if time.monotonic() - self._exchanged >= _READ_SECONDS:
            self._exchanged = time.monotonic()
            for one in self._spans.values():
                one.exchange()
        return next(((span, found) for span, one in self._spans.items() if (found := one.exhausted())), None)

    def _start_day(self) -> None:
        if self._day == _today() or "day" not in self._spans:
            return
        self._spans["day"].write()
        self._day = _today()
        self._spans = {**self._spans, "day": self._spent_in("day")}
        self._exchanged = -_READ_SECONDS

    def _spent_in(self, span: _Span) -> Spent:
        engine, budget = self._settings.engine, self._settings.budget
        limits = budget.run if span == "run" else budget.day
        name = f"runs/{self._fingerprint}" if span == "run" else f"{engine}/{self._day}"
        return Spent(self._storage, f"{BUDGETS}/{name}", limits)


def _today() -> date:
    return datetime.now(UTC).date()
