"""Values that cost much to make and are kept for some seconds."""

import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Any, TypeVar, cast

_T = TypeVar("_T")


class Memory:
    """Values by name. One thread makes a value; the others wait for it and get it, or the error that it ended in."""

    def __init__(self, most: int) -> None:
        self._most = most  # values; the oldest are forgotten
        self._values: dict[Hashable, tuple[float, Future[Any]]] = {}  # and when their making began
        self._lock = Lock()

    def get(self, name: Hashable, seconds: float, make: Callable[[], _T]) -> _T:
        """Return a young value, or make it. A failure is not kept."""
        with self._lock:
            began, value = self._values.get(name, (0.0, Future[Any]()))
            if ours := name not in self._values or (value.done() and time.monotonic() - began >= seconds):
                value = Future()
                self._put(name, value)
        if ours:
            try:
                value.set_result(make())
            except BaseException as error:
                with self._lock:
                    self._values.pop(name, None)
                value.set_exception(error)
        return cast("_T", value.result())

    def _put(self, name: Hashable, value: Future[Any]) -> None:
        self._values.pop(name, None)
        self._values[name] = time.monotonic(), value
        for old in list(self._values)[: -self._most]:
            del self._values[old]
