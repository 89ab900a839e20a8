"""Near-duplicates by a set of texts of which the truth is known: copies are found, and facts stay apart."""

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from tests.ingest.truth import FIRST, SECOND, Line, Words, fingerprint, lines
from tests.ingest.world import ingest, kept, land, settings_for

FROZEN = "3747d2ba71276a4b"  # of the first set, from before the code that it judges
OPEN = [
    *("languages=[]", "spam=false", "pii=keep", "placeholder_text=false", "max_text_urls=null", "max_repetition=null"),
]


def rates(words: Words, folder: Path, *sets: str) -> dict[tuple[str, str], float]:
    """Ingest a set and return for each class the share of copies found, or of facts merged."""
    known = list(lines(words))
    land(folder / "landing", [{"url": f"https://{e.host}/{n}.jpg", "text": e.text} for n, e in enumerate(known)])
    settings = settings_for(folder, *(f"ingest.rules.{rule}" for rule in OPEN), "ingest.part_rows=20000", *sets)
    ingest(settings)
    left = {int(row["url"].rpartition("/")[2].removesuffix(".jpg")) for row in kept(settings)}
    return rates_of(known, left)


def rates_of(known: list[Line], left: set[int]) -> dict[tuple[str, str], float]:
    """Return the share of lines of each class that are dropped, not counting one line of each case."""
    cases: dict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    dropped: Counter[tuple[str, str]] = Counter()
    for number, line in enumerate(known):
        cases[line.kind, line.name][line.case] += 1
        dropped[line.kind, line.name] += number not in left
    return {c: dropped[c] / (sum(counts.values()) - len(counts)) for c, counts in cases.items()}


def test_the_first_set_is_the_frozen_one() -> None:
    assert fingerprint(FIRST) == FROZEN


@pytest.mark.parametrize("words", [FIRST, SECOND], ids=["first", "second"])
def test_copies_are_found_and_facts_stay_apart(words: Words, tmp_path: Path) -> None:
    found = rates(words, tmp_path)
    missed = {n: r for (kind, n), r in found.items() if kind == "copies" and r < (0.9 if "tail" in n else 0.95)}
    merged = {n: r for (kind, n), r in found.items() if kind == "facts" and r > 0.01}
    assert (missed, merged) == ({}, {})
