"""Files are read and written several at once: in order, in bounded memory, with the errors of each."""

from collections.abc import Iterator
from threading import Lock
from time import sleep

import pytest

from kale_tasks.threads import map_ahead


def test_results_come_in_order_and_few_are_ahead() -> None:
    begun, taken, most = list[int](), 0, 0

    def items() -> Iterator[int]:
        for number in range(40):
            begun.append(number)
            yield number

    def act(number: int) -> int:
        sleep(0.002 * (number % 3))
        return number * number

    for number, square in enumerate(map_ahead(act, items(), 4)):
        most = max(most, len(begun) - taken)
        taken += 1
        assert square == number * number
    assert taken == 40
    assert most <= 5  # four are worked on, and the next is at hand


def test_several_are_done_at_once() -> None:
    now, most, lock = 0, 0, Lock()

    def act(_: int) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        sleep(0.01)
        with lock:
            now -= 1

    list(map_ahead(act, range(12), 4))
    assert most == 4


def test_an_error_is_raised_in_its_place() -> None:
    results = map_ahead(lambda number: 6 // number, [3, 2, 0, 1], 2)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)
