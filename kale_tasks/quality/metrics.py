"""Measures texts: length, variety, and how much of the alt-text and the dense caption a caption contains."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kale_tasks.lake.tables import Lake
from kale_tasks.quality.committed import Found
from kale_tasks.quality.features import distinct_share, loops, sentences, words
from kale_tasks.settings.model import Settings

_CLAUSE = (
    r"[^\s,;:.!?]+(\s+[^\s,;:.!?]+)+\s*([,;:.!?]|$)"  # two words or more up to a mark: a rough count of assertions
)
_FACTS = ("facts", "facts_from_alt", "facts_from_dense", "facts_invented")


def captions_of(lake: Lake, settings: Settings, found: Sequence[Found]) -> pa.Table:
    """Read captions of some runs: of each stage the first `quality.metric_rows` by uid, which is a fair sample."""
    columns = ["uid", "stage", "alt_text", "dense_caption", "caption", "recipe", "models", "flags", *_FACTS]
    opened = [one.rows(lake) for one in found if one.table == "captions"]
    tables = [rows.read(0, settings.quality.metric_rows, columns) for rows in opened]
    return pa.concat_tables(tables) if tables else pa.table({c: [] for c in columns})


def fact_shares(captions: pa.Table, rows: Mapping[tuple[str, int], int]) -> dict[str, float | None]:
    """Return which shares of the facts in captions come from the alt-text and from no source.

    All recipes and stages count, weighted by their committed `rows`: the captions may be a sample of each.
    """
    totals = dict.fromkeys(_FACTS, 0.0)
    for (recipe, stage), committed in rows.items():
        of_stage = captions.filter((pc.field("recipe") == recipe) & (pc.field("stage") == stage))
        for name in _FACTS:
            totals[name] += committed * (pc.sum(of_stage[name]).as_py() or 0) / max(1, of_stage.num_rows)
    facts = totals["facts"]
    shares = {f"{name}_share": totals[name] for name in ("facts_from_alt", "facts_invented")}
    return {name: round(total / facts, 4) if facts else None for name, total in shares.items()}


def texts(captions: pa.Table) -> pa.Table:
    """Return one row of features per text: alt-texts, dense captions and the captions of each recipe and stage."""
    recipes = sorted(captions["recipe"].unique().to_pylist()) or [""]
    tables = [_measured("alt-text", captions["alt_text"])]
    for recipe in recipes:
        of_recipe, more = captions.filter(pc.field("recipe") == recipe), f" ({recipe})" if len(recipes) > 1 else ""
        stage1 = of_recipe.filter(pc.field("stage") == 1)
        tables.append(_measured(f"dense{more}", stage1["dense_caption"]))
        for stage in (1, 2):
            rows = of_recipe.filter(pc.field("stage") == stage)
            tables.append(_measured(f"stage {stage}{more}", rows["caption"], rows))
    return pa.concat_tables(tables)


def _measured(source: str, text: Any, rows: pa.Table | None = None) -> pa.Table:
    text = pc.fill_null(text.cast(pa.string()), "")
    nulls = pa.nulls(len(text), pa.float64())
    facts = {f: nulls if rows is None else rows[f].cast(pa.float64()) for f in _FACTS}
    return pa.table(
        {
            "source": pa.array([source] * len(text), pa.string()),
            "full_text": text,
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
    """Share of the distinct words of a caption that its dense caption has; null without a dense caption."""

    def share(caption: str, dense: str | None) -> float | None:
        known, used = set((dense or "").lower().split()), set(caption.lower().split())
        return len(used & known) / len(used) if dense and used else None

    pairs = zip(text.to_pylist(), dense.to_pylist(), strict=True)
    return pa.array([share(caption, other) for caption, other in pairs], pa.float64())


def histogram(values: Any, width: int, bins: int) -> list[int]:
    """Count values in bins of one width; the last bin takes all larger values."""
    found = np.minimum(np.asarray(values) // width, bins - 1).astype(int)
    return [int(n) for n in np.bincount(found, minlength=bins)]
