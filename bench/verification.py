"""How well the rules of `verify` find facts that no source states: `python -m bench.verification`.

Reads real alt-texts with a short caption and a fusion of both, which are not part of this repository. Rows are divided
by a hash: the rules were tuned on one half, all figures are of the other.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

import yaml

from bench.frame import Page
from kale_tasks.captions.clean import Cleaner
from kale_tasks.explore.votes import interval
from kale_tasks.recipes.parts import Clean
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.text.grounding import invented
from kale_tasks.text.sentences import is_whole

REAL = Path(__file__).parents[1] / "../shared/data/real_triplets.jsonl"
JUDGED = Path(__file__).parents[1] / "tests/text/judged_flags.yaml"
PROBES = Path(__file__).parents[1] / "tests/text/verification_probes.yaml"
CLASSES: Mapping[str, tuple[list[str], list[str]]] = yaml.safe_load(
    Path(__file__).with_name("false_facts.yaml").read_text(encoding="utf-8")
)
_DIGITS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_SPELLED = {str(number): (word,) for number, word in enumerate(_DIGITS, 2)}
_SPELLED |= {word: (number,) for number, (word,) in _SPELLED.items()}
MORE = 5  # short captions of other rows that make a long description
ABOUT = """
Real alt-texts with a short caption and a fusion of both by a model, cleaned. A flag is a caption with a fact that
neither text states. *false alarm*: a person finds that a text states it; the verdicts are in
`tests/text/judged_flags.yaml` by hash of the row. *found*: of the captions into which one false fact was put, those in
which it is flagged; with the row's own description of ten words, and with six descriptions joined.
"""


@dataclass(frozen=True)
class Triplet:
    """A row of real text."""

    name: str  # hash of its three texts
    alt: str
    short: str
    caption: str

    @property
    def seen(self) -> bool:
        """Whether rules may be tuned on it."""
        return int(self.name, 16) % 2 == 0


@cache
def triplets() -> tuple[Triplet, ...]:
    """All rows whose fusion survives cleaning."""
    cleaner = Cleaner(Clean(min_words=3), load_recipe("kale").task("dense").prompt)
    return tuple(row for line in REAL.read_text(encoding="utf-8").splitlines() if (row := _row(line, cleaner)).caption)


def held_out() -> list[Triplet]:
    """The rows on which nothing was tuned."""
    return [row for row in triplets() if not row.seen]


def flagged(rows: Sequence[Triplet]) -> dict[str, list[str]]:
    """The facts that no source states, by name of the row."""
    found = {row.name: sorted(invented(row.caption, row.short, row.alt)) for row in rows}
    return {name: facts for name, facts in found.items() if facts}


def found_share(rows: Sequence[Triplet], kind: str, more: int) -> tuple[int, int]:
    """How many of the false facts of a class are flagged, and how many there are."""
    hits = total = 0
    for row, sentence, value, source in _spoilt(rows, kind, more):
        unsaid = invented(f"{row.caption} {sentence}", source, row.alt)
        total += 1
        hits += any(fact in unsaid for fact in _candidates(value, unsaid))
    return hits, total


def _row(line: str, cleaner: Cleaner) -> Triplet:
    found = json.loads(line)
    texts = [found[name] for name in ("alt_text", "short_caption", "fused")]
    cleaned = cleaner.clean(texts[2], "stop" if is_whole(texts[2]) else "length")
    return Triplet(hashlib.sha256("\n".join(texts).encode()).hexdigest(), texts[0], texts[1], cleaned.text)


def _spoilt(rows: Sequence[Triplet], kind: str, more: int) -> Iterator[tuple[Triplet, str, str, str]]:
    """Yield rows with a false sentence of a class, its value, and the description that it is held against."""
    sentences, values = CLASSES[kind]
    for row in rows:
        chance = Random(f"{kind} {row.name}")
        source = " ".join([row.short, *(other.short for other in chance.sample(rows, more))])
        value = chance.choice(values)
        if not _says(f"{source} {row.alt} {row.caption}", value):
            yield row, chance.choice(sentences).format(value), value, source


def _says(text: str, value: str) -> bool:
    spellings = [value, *_SPELLED.get(value, ())]
    return any(re.search(rf"(?<!\w){re.escape(one)}(?!\w)", text, re.IGNORECASE) for one in spellings)


def _candidates(value: str, unsaid: frozenset[str]) -> list[str]:
    return [fact for fact in unsaid if fact in value or value in fact]


def main() -> None:
    """Write bench/verification.md."""
    page, rows = Page("verification", "How well false facts are found", ABOUT), held_out()
    judged = yaml.safe_load(JUDGED.read_text(encoding="utf-8"))
    alarms, total = len(judged["said"]), judged["rows"]
    low, high = interval(alarms, total)
    page.text(
        f"False alarms, judged once before the rules were changed again: {alarms} of {total} captions,\n"
        f"{alarms / total * 1000:.1f} in 1,000 (95 %: {low * 1000:.1f} to {high * 1000:.1f}). Flagged today of these\n"
        f"and of the rows that were judged earlier: {len(flagged(rows))} of {len(rows)}."
    )
    header = ["false fact", "ten words: found", "of", "share", "sixty words: found", "of", "share"]
    page.table(header, [[kind, *_cells(rows, kind, 0), *_cells(rows, kind, MORE)] for kind in CLASSES])
    page.text(
        "Probes are pairs of a caption and a source, with the facts of the caption that the source does not state."
    )
    probes = yaml.safe_load(PROBES.read_text(encoding="utf-8"))
    page.table(
        ["probes", "judged rightly", "of"], [[kind, str(_right(some)), str(len(some))] for kind, some in probes.items()]
    )
    page.write()


def _right(probes: Sequence[tuple[str, str, Sequence[str]]]) -> int:
    return sum(invented(caption, "", source) == set(unsaid) for caption, source, unsaid in probes)


def _cells(rows: Sequence[Triplet], kind: str, more: int) -> list[str]:
    hits, total = found_share(rows, kind, more)
    return [str(hits), str(total), f"{hits / total:.3f}"]


if __name__ == "__main__":
    main()
