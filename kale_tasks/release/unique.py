"""Makes sure that a uid names one caption of a recipe in the whole release, whatever marks and indexes say."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from kale_tasks.errors import BadData
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.snapshot import Snapshot

_AT_ONCE = 1 << 20  # uids in memory


def require_unique(captions: Mapping[Partition, Snapshot]) -> None:
    """Raise BadData, which names the keys, if a uid is in two captions of a recipe."""
    for recipe in sorted({str(partition.columns["recipe"]) for partition in captions}):
        mine = {p: rows for p, rows in captions.items() if p.columns["recipe"] == recipe}
        # Rows are sorted by uid, so that a range of uids is a few row groups of each key.
        for first, last in _ranges(sum(rows.count for rows in mine.values())):
            uids = {p: rows.between(first, last, ["uid"])["uid"] for p, rows in mine.items()}
            together = pa.chunked_array([c for column in uids.values() for c in column.chunks], pa.string())
            if pc.count_distinct(together).as_py() < len(together):
                raise _explained(recipe, uids, together)


def _ranges(rows: int) -> Sequence[tuple[str, str]]:
    pieces = -(-max(1, rows) // _AT_ONCE)
    inner = [f"{number * 2**32 // pieces:08x}" for number in range(1, pieces)]
    return list(pairwise(["", *inner, "g"]))  # "g" is behind every hex digit


def _explained(recipe: str, uids: Mapping[Partition, pa.ChunkedArray], together: pa.ChunkedArray) -> BadData:
    counted = pc.value_counts(together.combine_chunks())
    twice = counted.field("values").filter(pc.greater(counted.field("counts"), 1))
    keys = sorted({p.key for p, column in uids.items() if pc.any(pc.is_in(column, value_set=twice)).as_py()})
    return BadData(
        f"{len(twice)} uids are in two captions of the recipe '{recipe}' (keys {', '.join(keys)}). Make the later keys "
        f"again, from `kale run ingest --key {keys[-1]} --again` on, then release."
    )
