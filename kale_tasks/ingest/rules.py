"""The row rules: small classes that decide by looking at one row whether it is dropped.

Built-in rules and rules of other packages are parts of the registry RULES. docs/plugins.md shows how to write one.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from kale_tasks.errors import BadConfig
from kale_tasks.ingest.blocklists import Blocklists, phrases
from kale_tasks.ingest.normalize import hash64
from kale_tasks.ingest.suspects import suspects
from kale_tasks.registry import Registry
from kale_tasks.settings.ingest import Ingest, Rules
from kale_tasks.text.language import UNSURE
from kale_tasks.text.personal import PersonalPatterns


class PairRow(NamedTuple):
    """What a rule sees of a row. Every row that reaches a rule has a URL and a text."""

    uid: str
    host: str
    url: str  # in normal form, without a scheme
    sha256: str  # that the source claims for the image; may be empty
    text: str  # the repaired alt-text
    folded: str  # the text without case and punctuation
    lang: str  # ISO 639-1; "und" where the detector is not sure


class Rule(Protocol):
    """Decides about rows. Made once per worker, from its options.

    A rule that costs much may also have a method `suspects(texts, folded)`, which takes the columns of many rows and
    returns for each row whether the rule has to be asked.
    """

    def __call__(self, row: PairRow) -> bool:
        """Return whether the row is dropped."""


RuleFactory = Callable[..., Rule]  # takes the options of the rule as keyword arguments
_BUILT_IN = {
    "blocked_domain": "kale_tasks.ingest.rules:BlockedDomain",
    "evaluation": "kale_tasks.ingest.rules:EvaluationItem",
    "placeholder_text": "kale_tasks.ingest.rules:PlaceholderText",
    "spam": "kale_tasks.ingest.rules:Spam",
    "pii": "kale_tasks.ingest.rules:PersonalData",
    "nsfw": "kale_tasks.ingest.rules:ListedWords",
    "language": "kale_tasks.ingest.rules:OtherLanguage",
}
RULES: Registry[RuleFactory] = Registry("rule", "kale.rules", _BUILT_IN)
# Asked before the limits on the length of texts, as they tell more of a short text; all others are asked afterwards.
FIRST_RULES = ("blocked_domain", "placeholder_text")
# Rules that ingest applies elsewhere, most of them in sql/ingest/.
# fmt: off
OTHER_RULES = frozenset({
    "no_url", "no_text", "too_few_words", "too_many_words", "too_short", "too_long", "repetition", "too_small",
    "too_narrow", "low_clip", "takedown", "earlier_uid", "earlier_url", "earlier_picture", "earlier_text",
    "earlier_meaning", "duplicate_uid", "duplicate_url", "duplicate_picture", "placeholder_uid", "placeholder_url",
    "placeholder_picture", "shared_text", "near_duplicate", "semantic_duplicate",
})
# fmt: on
_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


def configured_rules(settings: Ingest, lists: Blocklists) -> dict[str, partial[Rule]]:
    """Return for each enabled rule a call that makes it, in the order in which the rules are applied.

    The calls can be pickled. They refer to a rule by its dotted name, so a worker imports its module.
    """
    rules = settings.rules
    options: dict[str, dict[str, Any]] = {
        "blocked_domain": {"domains": lists.domains},
        "placeholder_text": {"patterns": rules.placeholder_text and lists.patterns["placeholder"]},
        "evaluation": {"items": lists.evaluation, "phrase_words": settings.lists.evaluation_words},
        "spam": {"patterns": rules.spam and lists.patterns["spam"]},
        "pii": {"patterns": rules.pii == "drop" and lists.patterns["pii"]},
        "nsfw": {"words": lists.nsfw},
        "language": {"languages": rules.languages},
    }
    built_in = {name: partial(RULES.find(name), **of) for name, of in options.items() if all(of.values())}
    return built_in | _extra_rules(rules)


def extra_rule_versions(rules: Rules) -> dict[str, int]:
    """Return the versions of the rules in `ingest.rules.extra`, for the fingerprint.

    Raises BadConfig when a rule is unknown, cannot be imported, or does not accept its options.
    """
    versions = {}
    for name, make in _extra_rules(rules).items():
        try:
            make()
        except (TypeError, ValueError) as error:
            raise BadConfig(f"The rule '{name}' rejects its options in ingest.rules.extra.{name}: {error}") from error
        versions[name] = int(getattr(make.func, "version", 1))
    return versions


def _extra_rules(rules: Rules) -> dict[str, partial[Rule]]:
    for name in rules.extra:
        if name in _BUILT_IN or name in OTHER_RULES or not _NAME.fullmatch(name):
            raise BadConfig(
                f"'{name}' in ingest.rules.extra cannot name a rule of a package: the name must be new, and made of "
                "small letters, digits and '_'. Rename the rule in the package's entry points (kale.rules)."
            )
    return {name: partial(RULES.find(name), **rules.extra[name]) for name in sorted(rules.extra)}


class BlockedDomain:
    """Drops URLs of listed domains and of their subdomains."""

    def __init__(self, domains: frozenset[str]) -> None:
        self._domains = domains

    def __call__(self, row: PairRow) -> bool:
        """Return whether the host or a domain above it is listed."""
        labels = row.host.split(".")
        return any(".".join(labels[i:]) in self._domains for i in range(len(labels)))


class EvaluationItem:
    """Drops items of evaluation sets: by image digest, by URL, or by a shared run of words."""

    def __init__(self, items: frozenset[int], phrase_words: int) -> None:
        self._items, self._phrase_words = items, phrase_words

    def __call__(self, row: PairRow) -> bool:
        """Return whether the row shares anything with an evaluation item."""
        if hash64(row.sha256.encode()) in self._items or hash64(row.url.encode()) in self._items:
            return True
        return any(phrase in self._items for phrase in phrases(row.folded, self._phrase_words))


class PlaceholderText:
    """Drops texts that match a pattern as a whole, such as file names and sizes."""

    _AROUND = " .:;!-_\"'"

    def __init__(self, patterns: Sequence[str]) -> None:
        self._pattern = re.compile(_either(patterns), re.I)

    def suspects(self, texts: pa.Array, folded: pa.Array) -> list[bool]:
        """Return which texts may be placeholders."""
        around = f"[{re.escape(self._AROUND)}]*"
        return suspects(f"^{around}(?:{self._pattern.pattern}){around}$", texts)

    def __call__(self, row: PairRow) -> bool:
        """Return whether the text is a placeholder."""
        return len(row.text) <= 100 and self._pattern.fullmatch(row.text.strip(self._AROUND)) is not None


class Spam:
    """Drops texts in which two different patterns of advertisements match, each in words of its own."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = [re.compile(p, re.I) for p in patterns]

    def suspects(self, texts: pa.Array, folded: pa.Array) -> list[bool]:
        """Return in which texts one of the patterns may match."""
        return suspects(_either([p.pattern for p in self._patterns]), texts)

    def __call__(self, row: PairRow) -> bool:
        """Return whether the text is an advertisement."""
        found = sorted((m.end(), m.start()) for p in self._patterns if (m := p.search(row.text)))
        return bool(found) and any(start >= found[0][0] for _, start in found)


class PersonalData(PersonalPatterns):
    """Drops rows whose text has personal data."""

    def suspects(self, texts: pa.Array, folded: pa.Array) -> list[bool]:
        """Return which texts may have personal data."""
        return suspects(_either([p.pattern for p, _ in self.patterns]), texts)

    def __call__(self, row: PairRow) -> bool:
        """Return whether the text has personal data."""
        return self.mask(row.text) != row.text

    def mask_all(self, texts: Sequence[str]) -> list[str]:
        """Replace each match in each text."""
        column = pa.array(texts, pa.string())
        suspects = self.suspects(column, column)
        return [self.mask(text) if some else text for text, some in zip(texts, suspects, strict=True)]


class ListedWords:
    """Drops texts that contain a listed word or phrase, other than in a phrase that is listed with a `!` before it."""

    def __init__(self, words: frozenset[str]) -> None:
        self._pattern = _any_of([word for word in words if not word.startswith("!")])
        self._harmless = _any_of([word[1:] for word in words if word.startswith("!")])

    def suspects(self, texts: pa.Array, folded: pa.Array) -> list[bool]:
        """Return which texts may contain one."""
        return suspects(self._pattern.pattern, folded)

    def __call__(self, row: PairRow) -> bool:
        """Return whether the text contains one."""
        return self._pattern.search(self._harmless.sub(" ", row.folded)) is not None


def _either(patterns: Sequence[str]) -> str:
    return "|".join(f"(?:{pattern})" for pattern in patterns)


def _any_of(phrases: Sequence[str]) -> re.Pattern[str]:
    found = "|".join(map(re.escape, sorted(phrases, key=lambda phrase: (-len(phrase), phrase))))
    return re.compile(rf"\b(?:{found})\b" if phrases else r"(?!)")


class OtherLanguage:
    """Drops texts in any other language than the given ones. Texts of unknown language stay."""

    def __init__(self, languages: Sequence[str]) -> None:
        self._kept = frozenset([*languages, UNSURE])

    def __call__(self, row: PairRow) -> bool:
        """Return whether the text is in another language."""
        return row.lang not in self._kept
