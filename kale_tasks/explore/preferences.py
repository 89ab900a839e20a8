"""Pairs of texts of one image of which one is better: rated candidates, votes, and texts that were verified."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from kale_tasks.captions.passes import pass_id
from kale_tasks.explore.review_files import preferences
from kale_tasks.explore.votes import Side
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Lake
from kale_tasks.recipes.passes import LIST, VerifyPass
from kale_tasks.recipes.recipe import Recipe


class Preference(NamedTuple):
    """Two texts of an image, where the pair is from, and their scores if they have some."""

    source: str
    chosen: str
    rejected: str
    scores: Mapping[str, float] = {}


Pairs = Mapping[str, Sequence[Preference]]  # by uid


def rated(candidates: str | None) -> Iterator[Preference]:
    """Yield the best and the worst of the rated texts of an image, as the column `candidates` has them."""
    found = [one for one in json.loads(candidates or "[]") if one["score"] is not None]
    best, worst = max(found, key=_score, default=None), min(found, key=_score, default=None)
    if best and worst and _score(best) > _score(worst) and best["text"] != worst["text"]:
        scores = {"chosen_score": best["score"], "rejected_score": worst["score"]}
        yield Preference("candidates", best["text"], worst["text"], scores)


def voted(lake: Lake, key: str, recipe: str) -> Pairs:
    """Return the votes with a winner on texts of a recipe, by uid."""
    found = defaultdict[str, list[Preference]](list)
    for vote in preferences(lake, key):
        if recipe in {Side.parse(vote[name]).recipe for name in ("chosen_from", "rejected_from")}:
            found[vote["uid"]].append(Preference("votes", vote["chosen"], vote["rejected"]))
    return found


class Verified:
    """Texts in place of which a pass `verify` of a recipe put others, as no source supported what they state."""

    def __init__(self, lake: Lake, key: str, recipe: Recipe) -> None:
        known = {str(p.columns["pass"]): p for p in lake.partitions("texts") if p.key == key}
        passes = [one for one in recipe.passes if isinstance(one, VerifyPass) and one.otherwise != LIST]
        names = [[pass_id(recipe, name) for name in (one.name, one.verify)] for one in passes]
        committed = [pair for pair in names if known.keys() >= set(pair)]
        self._passes = [[Snapshot.open(lake, known[name]) for name in pair] for pair in committed]

    def between(self, first: str, last: str) -> Pairs:
        """Return the pairs of the rows whose uid lies between two uids."""
        found = defaultdict[str, list[Preference]](list)
        for after, before in self._passes:
            was = {(row["uid"], row["n"]): row["text"] for row in _rows(before, first, last)}
            for row in _rows(after, first, last):
                text = was.get((row["uid"], row["n"]), row["text"])
                if text != row["text"]:
                    found[row["uid"]].append(Preference("verification", row["text"], text))
        return found


def _rows(texts: Snapshot, first: str, last: str) -> list[dict[str, Any]]:
    return list(texts.between(first, last, ["n", "text"]).to_pylist())


def _score(text: Mapping[str, Any]) -> float:
    return float(text["score"])
