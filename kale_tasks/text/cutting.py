"""Takes out of a caption what no source supports: whole sentences, so that what is left makes sense alone."""

import re
from collections.abc import Iterable, Sequence

from kale_tasks.text.facts import find_facts
from kale_tasks.text.sentences import sentences

_WORD = re.compile(r"\w+")
_REFERS = re.compile(
    r"(?:It|Its|He|His|Him|She|Her|They|Their|Them|This|These|Those|That|Both|Another)\b"
    r"|The (?:other|same|former|latter)\b"
    r"|(?:Also|However|Moreover|Additionally|Furthermore|Besides|Therefore|Similarly|Meanwhile)\b"
)
_MOST = 0.6  # share of a claim's words that a sentence has if it states the claim


def stating(text: str, facts: Iterable[str]) -> list[int]:
    """The numbers of the sentences that state one of these facts."""
    known, found, end = set(facts), list[int](), 0
    places = [fact.start for fact in find_facts(text) if fact.text in known]
    for number, sentence in enumerate(sentences(text)):
        start, end = end, end + len(sentence)
        if any(start <= place < end for place in places):
            found.append(number)
    return found


def claiming(text: str, claims: Iterable[str]) -> list[int] | None:
    """The numbers of the sentences that make these claims, each quoted or in other words.

    None if a claim is in no sentence: then nothing can be cut.
    """
    found = list[int]()
    bags = [set(_WORD.findall(sentence.lower())) for sentence in sentences(text)]
    for claim in claims:
        words = set(_WORD.findall(claim.lower()))
        shares = [len(words & bag) / max(1, len(words)) for bag in bags]
        best = max(shares, default=0)
        if best < _MOST:
            return None
        found.append(shares.index(best))
    return found


def without(text: str, numbers: Sequence[int], least_words: int) -> str:
    """The text without some of its sentences; empty if what is left is too short, or refers to what is gone."""
    kept = [(at, sentence) for at, sentence in enumerate(sentences(text)) if at not in numbers]
    rest = "".join(sentence for _, sentence in kept).strip()
    dangles = any(at - 1 in numbers and _REFERS.match(sentence) for at, sentence in kept)
    return "" if dangles or count_words(rest) < max(1, least_words) else rest


def count_words(text: str) -> int:
    """Words of a text; in scripts without spaces two letters count as one."""
    letters = len(re.findall("[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]", text))
    return len(_WORD.findall(re.sub("[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]", " ", text))) + letters // 2
