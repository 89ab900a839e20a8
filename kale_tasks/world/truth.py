"""Captions against the truth of the sample world: what each kind of text carries of it, and what it makes up."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from kale_tasks.errors import BadConfig
from kale_tasks.lake.storage.base import Storage
from kale_tasks.lake.tables import Lake
from kale_tasks.text.grounding import invented
from kale_tasks.world.describe import read

_FACTS = ("name", "place", "year", "maker")


@dataclass
class Score:
    """Sums over the texts of one kind."""

    kind: str
    texts: int = 0
    words: int = 0
    told: int = 0  # facts that the alt-texts of these pictures know
    told_carried: int = 0
    visible: int = 0  # attributes that can be seen
    visible_carried: int = 0
    invented: int = 0  # names and numbers that are not true of the picture

    def add(self, text: str, truth: Mapping[str, Any]) -> None:
        """Count one text."""
        told = [truth[name] for name in truth["alt_facts"]]
        seen, claimed = dict(truth["attributes"]), read(text).attributes
        self.texts += 1
        self.words += len(text.split())
        self.told += len(told)
        self.told_carried += sum(fact in text for fact in told)
        self.visible += len(seen)
        self.visible_carried += sum(claimed.get(name) == value for name, value in seen.items())
        known = ", ".join(truth[name] for name in _FACTS if truth[name])
        self.invented += len(invented(text, truth["dense"], known))

    def figures(self) -> dict[str, Any]:
        """What is shown of it; a share of nothing is none."""
        return {
            "text": self.kind,
            "texts": self.texts,
            "words each": _per(self.words, self.texts, 1),
            "facts of the alt-text carried": _per(self.told_carried, self.told),
            "visible details right": _per(self.visible_carried, self.visible),
            "facts invented each": _per(self.invented, self.texts),
        }


def scores(lake: Lake, landing: Storage, keys: Iterable[str]) -> list[Score]:
    """The sums for alt-text, dense caption and both stages, over the captions that stand committed for the keys."""
    found = {kind: Score(kind) for kind in ("alt-text", "dense caption", "KALE, stage 1", "KALE, stage 2")}
    for key in keys:
        truth = _truth(landing, key)
        for row in _captions(lake, key):
            for kind, text in _texts(row):
                found[kind].add(text, truth[row["uid"]])
    return list(found.values())


def _truth(landing: Storage, key: str) -> dict[str, dict[str, Any]]:
    try:
        with landing.arrow.open_input_file(f"_truth/{key}.parquet") as file:
            return {row["uid"]: row for row in pq.read_table(file).to_pylist()}
    except FileNotFoundError as error:
        raise BadConfig(
            f"The truth of {key} is not known: {landing.root} has no _truth/{key}.parquet, as a sample world has. "
            f"`kale report --key {key}` shows what can be said without it."
        ) from error


def _per(part: float, whole: int, digits: int = 3) -> float | None:
    return round(part / whole, digits) if whole else None


def _captions(lake: Lake, key: str) -> Iterator[dict[str, Any]]:
    for batch in lake.batches("captions", key, ["uid", "stage", "alt_text", "dense_caption", "caption"]):
        yield from batch.to_pylist()


def _texts(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "alt-text", row["alt_text"]
    yield f"KALE, stage {row['stage']}", row["caption"]
    if row["dense_caption"]:
        yield "dense caption", row["dense_caption"]
