"""Does independent reads and writes of files at once, in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_THREADS = 32
_A = TypeVar("_A")
_B = TypeVar("_B")


def map_ahead(act: Callable[[_A], _B], items: Iterable[_A], threads: int = _THREADS) -> Iterator[_B]:
    """Yield the results in order. At most `threads` items are worked on, or wait to be taken, at any time."""
    with ThreadPoolExecutor(threads) as pool:
        begun: deque[Future[_B]] = deque()
        for item in items:
            if len(begun) == threads:
                yield begun.popleft().result()
            begun.append(pool.submit(act, item))
        while begun:
            yield begun.popleft().result()
