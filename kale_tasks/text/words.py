"""Access to the word lists and patterns in words.yaml and names.yaml, and to the common words in english.txt."""

import re
from functools import cache
from pathlib import Path
from typing import Any

from kale_tasks.resources import parse_yaml

RULES = 2  # raise it when texts get other verdicts by these lists and the rules: what was judged by them becomes stale


def words(name: str) -> list[str]:
    """Return a list as single words."""
    found = _lists()[name]
    return (found if isinstance(found, str) else " ".join(found)).split()


def lines(name: str) -> list[str]:
    """Return a list as lines of words."""
    return list(_lists()[name])


def pairs(name: str) -> dict[str, str]:
    """Return a list that maps words to values."""
    return dict(_lists()[name])


@cache
def common_words() -> frozenset[str]:
    """Common English words in small letters, inflected ones included; none is a name only."""
    text = Path(__file__).with_name("english.txt").read_text(encoding="utf-8")
    return frozenset(line for line in text.splitlines() if not line.startswith("#"))


@cache
def groups() -> tuple[tuple[str, ...], ...]:
    """Groups of phrases that name the same thing."""
    return tuple(tuple(line.split(", ")) for kind in _read("names").values() for line in kind)


@cache
def _read(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = parse_yaml(Path(__file__).with_name(f"{name}.yaml").read_text(encoding="utf-8"))
    return loaded


def _lists() -> dict[str, Any]:
    return _read("words")


def expressions(name: str) -> list[str]:
    """Return a list as regular expressions."""
    found = _lists()[name]
    return [found] if isinstance(found, str) else list(found)


@cache
def pattern(name: str) -> re.Pattern[str]:
    """Return a list of regular expressions as one that matches where any of them does. Case is ignored."""
    return re.compile("|".join(f"(?:{one})" for one in expressions(name)), re.IGNORECASE)
