"""The word lists of the rules."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml


def words(name: str) -> list[str]:
    """One list, a word an entry."""
    found = _lists()[name]
    return (found if isinstance(found, str) else " ".join(found)).split()


def lines(name: str) -> list[str]:
    """One list, a line an entry."""
    return list(_lists()[name])


def pairs(name: str) -> dict[str, str]:
    """One list of words with their meaning."""
    return dict(_lists()[name])


@cache
def _lists() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return loaded


@cache
def pattern(name: str) -> re.Pattern[str]:
    """One list of regular expressions, any of which may match."""
    found = _lists()[name]
    expressions = [found] if isinstance(found, str) else found
    return re.compile("|".join(f"(?:{one})" for one in expressions), re.IGNORECASE)
