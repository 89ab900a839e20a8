"""Texts that make a regular expression slow, built from its own parsed structure."""

import re
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

SMALL, LARGE = 2_000, 8_000  # characters of the two sizes that are compared
FASTEST = 0.006  # seconds: what takes no longer at LARGE cannot grow with the square in a way that matters
GROWTH = 8.0  # four times the text takes four times as long; a square takes sixteen times
PATIENCE = 3.0  # seconds for one text
_REPEATS = (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT)
_LETTERS = "aA1 -.,_/'\"<>\n\u4e00\u00e9#@:("
_OF_CATEGORY = {
    sre.CATEGORY_DIGIT: "1",
    sre.CATEGORY_NOT_DIGIT: "a",
    sre.CATEGORY_SPACE: " ",
    sre.CATEGORY_NOT_SPACE: "a",
    sre.CATEGORY_WORD: "a",
    sre.CATEGORY_NOT_WORD: "-",
}
_MOST = 100  # attacks on one pattern: a longer one is made of alternatives that are attacked alone, too
_TAILS = ("", "\x00", "!")


class TooSlow(Exception):
    """One text took longer than PATIENCE."""


def attacks(pattern: re.Pattern[Any]) -> list[Callable[[int], str]]:
    """Makers of texts of a length: each repeats what one part of the pattern matches, and ends so that it may fail."""
    tree = parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else 0)
    found = dict.fromkeys((before, unit, tail) for before, unit in _units(list(tree), "") if unit for tail in _TAILS)
    found |= dict.fromkeys(("", letter, tail) for letter in _letters(tree) for tail in _TAILS)
    return [partial(_text, *one) for one in found]


def _text(before: str, unit: str, tail: str, length: int) -> str:
    return before + unit * ((length - len(before)) // len(unit) + 1) + tail


def _units(items: Sequence[Any], before: str) -> Iterator[tuple[str, str]]:
    """What may be repeated, with the text that leads to it."""
    whole = _sample(items, 0)
    yield "", whole
    for at, (name, value) in enumerate(items):
        so_far = before + _sample(items[:at], 0)
        for body in _bodies(name, value):
            if name in _REPEATS:
                after = _sample(items[at + 1 : at + 2], 0)
                for choice in range(3):
                    unit = _sample(body, choice)
                    yield from ((so_far, unit), (so_far, unit + after), ("", so_far + unit))
            yield from _units(body, so_far)


def _bodies(name: Any, value: Any) -> list[list[Any]]:
    """The sequences inside a node."""
    if name in _REPEATS:
        return [list(value[2])]
    if name is sre.SUBPATTERN:
        return [list(value[-1])]
    if name is sre.BRANCH:
        return [list(one) for one in value[1]]
    if name in (sre.ASSERT, sre.ASSERT_NOT):
        return [list(value[1])]
    return [list(value)] if name is sre.ATOMIC_GROUP else []


def _sample(items: Iterable[Any], choice: int) -> str:
    """A text that the nodes match, as far as can be seen from each alone."""
    return "".join(_one(name, value, choice) for name, value in items)


def _one(name: Any, value: Any, choice: int) -> str:
    if name is sre.LITERAL:
        return chr(value)
    if name is sre.NOT_LITERAL:
        return next(letter for letter in _LETTERS if ord(letter) != value)
    if name is sre.ANY:
        return "a"
    if name is sre.IN:
        return _member(value, choice)
    if name in _REPEATS:
        return _sample(value[2], choice) * max(1, value[0])
    bodies = [] if name in (sre.ASSERT, sre.ASSERT_NOT) else _bodies(name, value)
    return _sample(bodies[choice % len(bodies)], choice) if bodies else ""


def _member(members: Sequence[Any], choice: int) -> str:
    if members[0][0] is sre.NEGATE:
        taken = {chr(value) for name, value in members[1:] if name is sre.LITERAL}
        outside = [letter for letter in _LETTERS if letter not in taken and not _in_category(letter, members[1:])]
        return outside[choice % len(outside)] if outside else ""
    name, value = members[choice % len(members)]
    return chr(value) if name is sre.LITERAL else chr(value[0]) if name is sre.RANGE else _OF_CATEGORY[value]


def _in_category(letter: str, members: Sequence[Any]) -> bool:
    kinds = {
        sre.CATEGORY_DIGIT: letter.isdigit(),
        sre.CATEGORY_SPACE: letter.isspace(),
        sre.CATEGORY_WORD: letter.isalnum() or letter == "_",
    }
    kinds |= {
        sre.CATEGORY_NOT_DIGIT: not letter.isdigit(),
        sre.CATEGORY_NOT_SPACE: not letter.isspace(),
        sre.CATEGORY_NOT_WORD: not kinds[sre.CATEGORY_WORD],
    }
    return any(
        (name is sre.CATEGORY and kinds[value]) or (name is sre.RANGE and value[0] <= ord(letter) <= value[1])
        for name, value in members
    )


def _letters(items: Iterable[Any]) -> set[str]:
    found = set[str]()
    for name, value in items:
        if name in (sre.LITERAL, sre.NOT_LITERAL, sre.IN):
            found |= {_one(name, value, choice) for choice in range(3)}
        for body in _bodies(name, value):
            found |= _letters(body)
    return found - {""}


def slow(pattern: re.Pattern[Any], whole: bool) -> str:
    """Describe the first text whose cost grows faster than its length; empty if there is none.

    `whole`: the pattern is only matched from the start of a text, and not looked for everywhere.
    """
    made = attacks(pattern)
    for make in made[:: len(made) // _MOST + 1]:
        try:
            if _cpu(pattern, make(LARGE), whole) > FASTEST and (growth := _growth(pattern, make, whole)) > GROWTH:
                return f"{make(60)[:60]!r}…: four times the text takes {growth:.0f} times as long"
        except TooSlow:
            return f"{make(60)[:60]!r}…: more than {PATIENCE:g} s"
    return ""


def _growth(pattern: re.Pattern[Any], make: Callable[[int], str], whole: bool) -> float:
    """How many times longer the large text takes, by the fastest of some rounds: a busy machine slows single ones."""
    small, large = [], []
    while len(small) < 4 and (not small or min(large) / min(small) > GROWTH):
        small.append(max(FASTEST / 16, _cpu(pattern, make(SMALL), whole)))
        large.append(_cpu(pattern, make(LARGE), whole))
    return min(large) / min(small)


def _cpu(pattern: re.Pattern[Any], text: str, whole: bool) -> float:
    """The seconds of CPU for one text. Raises TooSlow: the engine of `re` looks for signals while it works."""
    subject = text.encode("latin-1", "replace") if isinstance(pattern.pattern, bytes) else text
    earlier = signal.signal(signal.SIGVTALRM, _stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, PATIENCE)
    began = time.thread_time()
    try:
        if whole:
            pattern.fullmatch(subject)
            pattern.match(subject)
        else:
            for _ in pattern.finditer(subject):
                pass
        return time.thread_time() - began
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, earlier)


def _stop(*_: object) -> None:
    raise TooSlow
