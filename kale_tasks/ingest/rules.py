"""The rules that look at words: each is one small class with a name, and says whether it drops a row."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kale_tasks.ingest.blocklists import Blocklists, phrases
from kale_tasks.ingest.normalize import hash64
from kale_tasks.settings.ingest import Ingest
from kale_tasks.text.language import UNSURE


@dataclass(frozen=True)
class PairRow:
    """What a rule may look at."""

    uid: str
    host: str
    url: str  # in its normal form
    sha256: str
    text: str  # repaired
    folded: str
    lang: str


class Rule(Protocol):
    """Drops a row or not."""

    def __call__(self, row: PairRow) -> bool:
        """Whether the row goes."""


def rules_of(settings: Ingest, lists: Blocklists) -> dict[str, Rule]:
    """The rules that are switched on, by name, in the order in which they speak."""
    wanted: dict[str, tuple[object, Any]] = {
        "blocked_domain": (lists.domains, lambda: _blocked_domain(lists.domains)),
        "evaluation": (lists.evaluation, lambda: _evaluation(lists.evaluation, settings.lists.evaluation_words)),
        "placeholder_text": (settings.rules.placeholder_text, lambda: _placeholder(lists.patterns["placeholder"])),
        "spam": (settings.rules.spam, lambda: _spam(lists.patterns["spam"])),
        "pii": (settings.rules.pii == "drop", lambda: PersonalData(lists.patterns["pii"]).found),
        "nsfw": (lists.nsfw, lambda: _nsfw(lists.nsfw)),
        "language": (settings.rules.languages, lambda: _language(settings.rules.languages)),
    }
    return {name: make() for name, (on, make) in wanted.items() if on}


class PersonalData:
    """Finds and masks personal data."""

    def __init__(self, patterns: Mapping[str, str]) -> None:
        self._patterns = [(re.compile(pattern, re.I), f"[{mark}]") for mark, pattern in patterns.items()]

    def found(self, row: PairRow) -> bool:
        """Whether a row holds any."""
        return self.mask(row.text) != row.text

    def mask(self, text: str) -> str:
        """The text with a mark in place of each piece."""
        if "@" not in text and not any(c.isdigit() for c in text):
            return text
        for pattern, mark in self._patterns:
            text = pattern.sub(mark, text)
        return text


def _blocked_domain(domains: frozenset[str]) -> Rule:
    def blocked(row: PairRow) -> bool:
        labels = row.host.split(".")
        return any(".".join(labels[i:]) in domains for i in range(len(labels)))

    return blocked


def _evaluation(items: frozenset[int], width: int) -> Rule:
    def met(row: PairRow) -> bool:
        if hash64(row.sha256.encode()) in items or hash64(row.url.encode()) in items:
            return True
        return any(phrase in items for phrase in phrases(row.folded, width))

    return met


def _placeholder(patterns: Sequence[str]) -> Rule:
    pattern = re.compile("|".join(f"(?:{p})" for p in patterns), re.I)
    return lambda row: len(row.text) <= 100 and pattern.fullmatch(row.text.strip(" .:;!-_\"'")) is not None


def _spam(patterns: Sequence[str]) -> Rule:
    compiled = [re.compile(p, re.I) for p in patterns]
    return lambda row: sum(p.search(row.text) is not None for p in compiled) >= 2


def _nsfw(words: frozenset[str]) -> Rule:
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(words)))})\b")
    return lambda row: pattern.search(row.folded) is not None


def _language(languages: Sequence[str]) -> Rule:
    kept = frozenset([*languages, UNSURE])
    return lambda row: row.lang not in kept
