"""Finds and masks personal data in texts: e-mail addresses, phone and card numbers."""

import re
from collections.abc import Mapping
from functools import cache

from kale_tasks.resources import parse_yaml, resource


class PersonalPatterns:
    """Masks what patterns match. A pattern has the name that replaces it."""

    def __init__(self, patterns: Mapping[str, str]) -> None:
        self.patterns = [(re.compile(pattern, re.I), f"[{mark}]") for mark, pattern in patterns.items()]

    def mask(self, text: str) -> str:
        """Replace each match by its mark, such as `[email]`."""
        if "@" not in text and not any(c.isdigit() for c in text):
            return text
        for pattern, mark in self.patterns:
            text = pattern.sub(_card_mark if mark == "[card]" else mark, text)
        return text


def mask_personal(text: str) -> str:
    """Mask personal data by the patterns that ship with KALE."""
    return _shipped().mask(text)


@cache
def _shipped() -> PersonalPatterns:
    return PersonalPatterns(parse_yaml(resource("config/ingest/patterns.yaml").read_text(encoding="utf-8"))["pii"])


def _card_mark(found: re.Match[str]) -> str:
    """Return the mark of a card number, or the text itself if its checksum (Luhn) is wrong."""
    digits = [int(c) for c in found[0] if c.isdigit()]
    doubled = sum(sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return "[card]" if (sum(digits[::-2]) + doubled) % 10 == 0 else found[0]
