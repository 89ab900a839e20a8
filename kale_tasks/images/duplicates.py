"""What only shows beside other images: placeholders, near duplicates, images of an evaluation set."""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from kale_tasks.errors import BadConfig
from kale_tasks.images.decode_pool import Pool
from kale_tasks.images.reasons import Lost
from kale_tasks.lake.landing import landing_storage
from kale_tasks.lake.storage.base import Entry
from kale_tasks.lake.tables import Lake

Hashes = npt.NDArray[np.uint64]
_BAND_BITS, _BANDS = 16, 4
_NEIGHBOURS = 64  # of equal bands, how many that follow are compared: flat pictures share bands by the thousand


class Evaluation:
    """The perceptual hashes of an evaluation set."""

    def __init__(self, lake: Lake, pool: Pool, near_bits: int) -> None:
        self._near_bits = near_bits
        found = list(pool.threads.map(lambda image: _phash(pool, image), _images(lake)))
        self._hashes = np.array([h for h in found if h is not None], dtype=np.int64).view(np.uint64)

    def knows(self, phash: int) -> bool:
        """Whether an image is one of the set, or nearly."""
        one = np.array([phash], dtype=np.int64).view(np.uint64)
        return bool((np.bitwise_count(self._hashes ^ one) <= self._near_bits).any())


def evaluation_content(lake: Lake) -> str | None:
    """A name for what the evaluation set holds; None without one."""
    files = _files(lake)
    return hashlib.sha256(repr([(e.path, e.size) for e in files]).encode()).hexdigest()[:20] if files else None


def placeholders(sha256: Hashes, count: int) -> npt.NDArray[np.bool_]:
    """Which hashes are there so many times or more."""
    _, inverse, times = np.unique(sha256, return_inverse=True, return_counts=True)
    return np.asarray(times[inverse] >= count)


def near_duplicates(phash: Hashes, near_bits: int) -> npt.NDArray[np.bool_]:
    """Which hashes have a near one before them: two that differ in few bits agree in one of four bands."""
    marked = np.zeros(len(phash), dtype=bool)
    for band in range(_BANDS):
        part = (phash >> np.uint64(band * _BAND_BITS)) & np.uint64((1 << _BAND_BITS) - 1)
        order = np.lexsort((np.arange(len(phash)), phash, part))
        for step in range(1, min(_NEIGHBOURS, len(order) - 1) + 1):
            one, other = order[:-step], order[step:]
            together = part[one] == part[other]
            if not together.any():
                break
            one, other = one[together], other[together]
            near = np.bitwise_count(phash[one] ^ phash[other]) <= near_bits
            marked[np.maximum(one[near], other[near])] = True
    return marked


def _images(lake: Lake) -> Sequence[bytes]:
    storage = landing_storage(lake.settings)
    images: list[bytes] = []
    for entry in _files(lake):
        with storage.arrow.open_input_file(entry.path) as file:
            images += [image for image in pq.read_table(file, columns=["image"])["image"].to_pylist() if image]
    return images


def _files(lake: Lake) -> list[Entry]:
    folder = lake.settings.images.evaluation
    if folder is None:
        return []
    found = sorted(landing_storage(lake.settings).entries(folder), key=lambda e: e.path)
    found = [entry for entry in found if entry.path.endswith(".parquet")]
    if not found:
        raise BadConfig(f"images.evaluation: no parquet file in {folder} below the landing. Name a folder, or null.")
    return found


def _phash(pool: Pool, image: bytes) -> int | None:
    try:
        answer, _ = pool.decode(image, keep=True)
    except Lost:
        return None
    return answer[3]
