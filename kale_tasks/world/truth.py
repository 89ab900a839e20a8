"""Compares captions with the truth of the sample world: facts carried, visible details right, facts invented."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
class TruthScore:
    """Counts over the texts of one kind."""

    kind: str
    texts: int = 0
    words: int = 0
    alt_facts: int = 0  # in the alt-texts of these images
    alt_facts_carried: int = 0
    visible: int = 0  # attributes that the images show
    visible_carried: int = 0
    invented: int = 0  # names and numbers that are not true

    def add(self, text: str, truth: Mapping[str, Any]) -> None:
        """Count a text, given the row of the truth of its image."""
        alt_facts = [truth[name] for name in truth["alt_facts"]]
        visible, claimed = dict(truth["attributes"]), read(text).attributes
        self.texts += 1
        self.words += len(text.split())
        self.alt_facts += len(alt_facts)
        self.alt_facts_carried += sum(fact in text for fact in alt_facts)
        self.visible += len(visible)
        self.visible_carried += sum(claimed.get(name) == value for name, value in visible.items())
        known = ", ".join(truth[name] for name in _FACTS if truth[name])
        self.invented += len(invented(text, truth["dense"], known))

    def figures(self) -> dict[str, Any]:
        """Return the counts as shares and means; None where there is nothing to divide by."""
        return {
            "text": self.kind,
            "texts": self.texts,
            "words each": _per(self.words, self.texts, 1),
            "facts of the alt-text carried": _per(self.alt_facts_carried, self.alt_facts),
            "visible details right": _per(self.visible_carried, self.visible),
            "facts invented each": _per(self.invented, self.texts),
        }


def scores(lake: Lake, landing: Storage, keys: Iterable[str]) -> list[TruthScore]:
    """Score alt-texts, dense captions and captions of both stages, over the committed captions of the keys.

    Raises BadConfig if a key has no truth, as only keys of a sample world have.
    """
    found = {kind: TruthScore(kind) for kind in ("alt-text", "dense caption", "KALE, stage 1", "KALE, stage 2")}
    for key in keys:
        truth = truth_rows(landing, key)
        for row in _captions(lake, key):
            for kind, text in _texts(row):
                found[kind].add(text, truth[row["uid"]])
    return list(found.values())


def keys_with_truth(landing: Storage, keys: Sequence[str]) -> list[str]:
    """Those of the keys whose truth is known; all of them if it is known of none, so that scoring says so."""
    known = [key for key in keys if landing.exists(_path(key))]
    return known or list(keys)


def _path(key: str) -> str:
    return f"_truth/{key}.parquet"


def truth_rows(landing: Storage, key: str) -> dict[str, dict[str, Any]]:
    """Return the truth of a key by uid; BadConfig if it is not known."""
    try:
        with landing.arrow.open_input_file(_path(key)) as file:
            return {row["uid"]: row for row in pq.read_table(file).to_pylist()}
    except FileNotFoundError as error:
        raise BadConfig(
            f"The truth of {key} is not known: {landing.root} has no {_path(key)}, as a sample world has. "
            f"`kale report --key {key}` needs no truth."
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
