"""The image bytes of captions, read from where they stand."""

from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from kale_tasks.lake.shards import Span, read_images
from kale_tasks.lake.snapshot import Rows
from kale_tasks.lake.tables import Lake

_SIGNS = {b"\xff\xd8\xff": "jpg", b"\x89PNG": "png", b"RIFF": "webp", b"GIF8": "gif"}


class Pictures:
    """The stored images of one key."""

    def __init__(self, lake: Lake, key: str) -> None:
        self._lake, self._key = lake, key

    def of(self, uids: pa.ChunkedArray) -> dict[str, bytes]:
        """The bytes of each of these images that is stored, by uid; uids must be in order."""
        found = self._rows.between(uids[0].as_py(), uids[-1].as_py(), ["shard", "offset", "length"])
        wanted = found.filter(
            pc.and_(pc.is_in(found["uid"], value_set=uids.combine_chunks()), pc.greater(found["length"], 0))
        )
        names = wanted["uid"].to_pylist()
        spans = [Span(*span) for span in zip(*(wanted[n].to_pylist() for n in Span._fields), strict=True)]
        return dict(zip(names, read_images(self._lake, spans), strict=True))

    @cached_property
    def _rows(self) -> Rows:
        return Rows(self._lake, "images", self._key)


def extension(data: bytes) -> str:
    """The usual ending of a file with these bytes."""
    return next((name for sign, name in _SIGNS.items() if data.startswith(sign)), "bin")
