"""Finds what earlier keys keep of the hashes of this key, on any worker of an engine."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kale_tasks.ingest.clean import FACTS, SKETCHES
from kale_tasks.ingest.scan import read_batches, to_parquet
from kale_tasks.lake.segments import Longs, Segment, find
from kale_tasks.lake.storage.base import Storage

_HASHES = [name for name in FACTS.names if name.endswith("_hash")]
_BANDS = [f"{kind}_bands" for kind in SKETCHES]


@dataclass(frozen=True)
class EarlierEntries:
    """Writes the entries of a segment that share a hash with cleaned rows to a scratch file. Can be pickled."""

    storage: Storage
    folder: str  # for scratch files
    cleaned: Sequence[str]  # the files of cleaned rows

    def __call__(self, segment: Segment) -> list[str]:
        """Return the path of the file, if there are such entries."""
        found = find(self.storage, segment, self._hashes)
        if not found.num_rows:
            return []
        path = f"{self.folder}/earlier-{segment.path.rpartition('/')[2]}.parquet"
        self.storage.put(path, to_parquet(iter(found.to_batches()), found.schema))
        return [path]

    @cached_property
    def _hashes(self) -> Longs:
        # Only the hashes of the rows are in memory: 8 bytes each.
        return np.unique(np.concatenate([np.empty(0, np.int64), *self._columns()]))

    def _columns(self) -> Iterator[Longs]:
        for path in self.cleaned:
            for batch in read_batches(self.storage, path, [*_HASHES, *_BANDS]):
                arrays = [batch[name] for name in _HASHES] + [batch[name].flatten() for name in _BANDS]
                yield from (np.asarray(array.drop_null(), np.int64) for array in arrays)
