"""What all pages share: the opened lake, its settings, the rights, and values that are kept for some seconds."""

import os
import time
from collections.abc import Callable, Hashable, Mapping
from threading import Lock
from typing import Any, NamedTuple, TypeVar, cast

from kale_tasks.lake.tables import Lake
from kale_tasks.settings import Settings, load
from kale_tasks.ui.access import Access
from kale_tasks.ui.rows import Rows

_CONNECTION_SECONDS = 30.0  # a changed connection is used after this
_REMEMBERED = 200
_T = TypeVar("_T")


class Opened(NamedTuple):
    """The lake that the settings name, and how its rows are read."""

    lake: Lake
    settings: Settings
    rows: Rows
    environment: Mapping[str, str]


class Site:
    """Opens the lake when a page asks for it. `environment` names it, in addition to that of the process."""

    def __init__(self, environment: Callable[[], Mapping[str, str]], access: Access) -> None:
        self.access = access
        self._environment = environment
        self._memory = Memory()
        self._opened: Opened | None = None
        self._lock = Lock()

    def open(self) -> Opened:
        """The lake; BadConfig if there is none. It is opened again when the connection of Airflow has changed."""
        environment = self.remember("environment", _CONNECTION_SECONDS, lambda: dict(self._environment()))
        with self._lock:
            if self._opened is None or self._opened.environment != environment:
                settings = load(environ={**os.environ, **environment}).settings
                lake = Lake(settings, create=False)
                self._opened = Opened(lake, settings, Rows(lake), environment)
            return self._opened

    def remember(self, name: Hashable, seconds: float, make: Callable[[], _T]) -> _T:
        """Return a value that was made at most so long ago, or make it. One thread makes it, others wait."""
        return self._memory.get(name, seconds, make)


class Memory:
    """Values that cost much to make, each with the time at which it was made."""

    def __init__(self) -> None:
        self._values: dict[Hashable, tuple[float, Any]] = {}
        self._locks: dict[Hashable, Lock] = {}
        self._lock = Lock()

    def get(self, name: Hashable, seconds: float, make: Callable[[], _T]) -> _T:
        """Return a young value, or make it."""
        with self._lock:
            making = self._locks.setdefault(name, Lock())
        with making:
            at, value = self._values.get(name, (-seconds - 1, None))
            if time.monotonic() - at < seconds and name in self._values:
                return cast("_T", value)
            made = make()
            self._put(name, made)
            return made

    def _put(self, name: Hashable, value: Any) -> None:
        with self._lock:
            self._values.pop(name, None)
            self._values[name] = time.monotonic(), value
            for old in list(self._values)[:-_REMEMBERED]:
                del self._values[old]
                self._locks.pop(old, None)
