"""The texts of a lake side by side: alt-text, dense caption and caption of each recipe, on the same images."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from kale_tasks.errors import Conflict
from kale_tasks.evaluate.measures import Item
from kale_tasks.imaging import decode_rgb
from kale_tasks.lake.shards import Span, read_images
from kale_tasks.lake.tables import Lake

_COLUMNS = ["uid", "recipe", "stage", "alt_text", "dense_caption", "caption", "url"]


class Beside(NamedTuple):
    """Images, and the texts of each arm about them."""

    items: list[Item]
    texts: dict[str, list[str]]


def caption_rows(lake: Lake, keys: Sequence[str], recipes: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the committed captions of keys and recipes; Conflict if there is none."""
    batches = [batch for key in keys for batch in lake.batches("captions", key, _COLUMNS)]
    rows = [row for batch in batches for row in batch.to_pylist() if not recipes or row["recipe"] in recipes]
    if not rows:
        raise Conflict(f"There are no captions of {', '.join(recipes) or 'any recipe'} yet. Run `kale run captions`.")
    return rows


def side_by_side(lake: Lake, keys: Sequence[str], count: int, with_images: bool, recipes: Sequence[str] = ()) -> Beside:
    """Take the first images by uid that all recipes have captioned, with their texts. Uids are hashes: that is fair."""
    by_recipe: dict[str, dict[str, dict[str, Any]]] = {}
    for row in caption_rows(lake, keys, recipes):
        by_recipe.setdefault(row["recipe"], {})[row["uid"]] = row
    shared = sorted(set.intersection(*(set(rows) for rows in by_recipe.values())))[:count]
    if not shared:
        raise Conflict(f"No image has captions of all of {', '.join(by_recipe)}. Give fewer with --recipe.")
    first = next(iter(by_recipe.values()))
    texts = {"alt-text": [first[uid]["alt_text"] or "" for uid in shared]}
    if all(first[uid]["dense_caption"] for uid in shared):
        texts["dense"] = [first[uid]["dense_caption"] for uid in shared]
    texts |= {recipe: [rows[uid]["caption"] or "" for uid in shared] for recipe, rows in by_recipe.items()}
    images = _images(lake, keys, shared) if with_images else {}
    return Beside([Item(uid, images.get(uid)) for uid in shared], texts)


def _images(lake: Lake, keys: Sequence[str], uids: Sequence[str]) -> dict[str, Any]:
    columns, wanted = ["uid", "shard", "offset", "length"], set(uids)
    tables = [pa.Table.from_batches(list(lake.batches("images", key, columns))) for key in keys]
    spans = {
        row["uid"]: Span(row["shard"], row["offset"], row["length"])
        for table in tables
        for row in table.to_pylist()
        if row["uid"] in wanted and row["shard"]
    }
    data = read_images(lake, [spans[uid] for uid in spans])
    return {uid: decode_rgb(image) for uid, image in zip(spans, data, strict=True)}
