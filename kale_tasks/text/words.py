"""Access to the word lists and patterns in words.yaml."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml


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
def _lists() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return loaded


@cache
def pattern(name: str) -> re.Pattern[str]:
    """Return a list of regular expressions as one that matches where any of them does. Case is ignored."""
    found = _lists()[name]
    expressions = [found] if isinstance(found, str) else found
    return re.compile("|".join(f"(?:{one})" for one in expressions), re.IGNORECASE)
