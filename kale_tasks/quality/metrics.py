"""Texts in figures: how long, how rich, how much of the alt-text and of the dense caption they carry."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kale_tasks.lake.partition import Partition
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Lake
from kale_tasks.quality.features import distinct_share, loops, sentences, words
from kale_tasks.settings.model import Settings

_CLAUSE = (
    r"[^\s,;:.!?]+(\s+[^\s,;:.!?]+)+\s*([,;:.!?]|$)"  # two words or more up to a mark: a rough count of assertions
)
_FACTS = ("facts", "facts_from_alt", "facts_from_dense", "facts_invented")


def captions_of(lake: Lake, settings: Settings, key: str) -> pa.Table:
    """The captions of both stages of a key, at most `quality.metric_rows` of each: the first by uid, a fair sample."""
    columns = ["uid", "stage", "alt_text", "dense_caption", "caption", "recipe", "models", "flags", *_FACTS]
    tables = [
        Snapshot.open(lake, Partition.of("captions", key, {"stage": stage})).read(
            0, settings.quality.metric_rows, columns
        )
        for stage in (1, 2)
        if lake.committed("captions", key, {"stage": stage})
    ]
    return pa.concat_tables(tables) if tables else pa.table({c: [] for c in columns})


def texts(captions: pa.Table) -> pa.Table:
    """One row for each text: alt-text, dense caption, and the caption of each stage."""
    stage1 = captions.filter(pc.field("stage") == 1)
    tables = [_measured("alt-text", captions["alt_text"]), _measured("dense", stage1["dense_caption"])]
    for stage in (1, 2):
        rows = captions.filter(pc.field("stage") == stage)
        tables.append(_measured(f"stage {stage}", rows["caption"], rows))
    return pa.concat_tables(tables)


def _measured(source: str, text: Any, rows: pa.Table | None = None) -> pa.Table:
    text = pc.fill_null(text.cast(pa.string()), "")
    nulls = pa.nulls(len(text), pa.float64())
    facts = {f: nulls if rows is None else rows[f].cast(pa.float64()) for f in _FACTS}
    return pa.table(
        {
            "source": pa.array([source] * len(text), pa.string()),
            "said": text,
            "words": words(text),
            "sentences": sentences(text),
            "clauses": pc.count_substring_regex(text, pattern=_CLAUSE),
            "distinct_share": distinct_share(text),
            "loop": loops(text),
            "overlap": nulls if rows is None else _overlap(text, rows["dense_caption"]),
            **facts,
        }
    )


def _overlap(text: Any, dense: Any) -> pa.Array:
    """The share of a caption's words that its dense caption has too; null without one."""

    def share(said: str, seen: str | None) -> float | None:
        known, used = set((seen or "").lower().split()), set(said.lower().split())
        return len(used & known) / len(used) if seen and used else None

    pairs = zip(text.to_pylist(), dense.to_pylist(), strict=True)
    return pa.array([share(said, seen) for said, seen in pairs], pa.float64())


def histogram(values: Any, width: int, bins: int) -> list[int]:
    """Counts of values in bins of a width; the last one takes the rest."""
    found = np.minimum(np.asarray(values) // width, bins - 1).astype(int)
    return [int(n) for n in np.bincount(found, minlength=bins)]
