"""What all pages share: the opened lake, its settings, the rights, and values that are kept for some seconds."""

import os
from collections.abc import Callable, Hashable, Mapping
from threading import Lock
from typing import NamedTuple, TypeVar

from kale_tasks.lake.tables import Lake
from kale_tasks.lake.view import LakeView
from kale_tasks.settings import Settings, load
from kale_tasks.ui.access import Access
from kale_tasks.ui.memory import Memory
from kale_tasks.ui.rows import Rows

_CONNECTION_SECONDS = 30.0  # a changed connection is used after this
_VALUES, _PICTURES = 200, 2000  # that are kept; a small picture has some 15 kB
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
        self._memory, self.pictures = Memory(_VALUES), Memory(_PICTURES)
        self.searches = Memory(_VALUES)  # apart: what took long must not make way for pages that take no time
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

    def look(self) -> Opened:
        """The lake as one request sees it that changes nothing: every table is looked up once."""
        opened = self.open()
        view = LakeView(opened.lake)
        return opened._replace(lake=view, rows=opened.rows.of(view))

    def remember(self, name: Hashable, seconds: float, make: Callable[[], _T]) -> _T:
        """Return a value that was made at most so long ago, or make it."""
        return self._memory.get(name, seconds, make)
