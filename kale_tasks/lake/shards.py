"""Images where they stand: tar shards of the warehouse, or tars of the landing that were adopted in place."""

import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from kale_tasks.errors import BadData
from kale_tasks.lake.storage.base import Storage
from kale_tasks.lake.storage.open import open_storage
from kale_tasks.lake.tables import Lake
from kale_tasks.settings.model import S3

LANDING = "landing:"
_GAP, _READ = 1 << 16, 1 << 24  # skip over less than the one, never read more than the other at once


class Span(NamedTuple):
    """Where an image's bytes are: the `shard`, `offset` and `length` columns of its row in `images`."""

    shard: str
    offset: int
    length: int


def read_image(lake: Lake, shard: str, offset: int, length: int) -> bytes:
    """The bytes of one image."""
    return read_images(lake, [Span(shard, offset, length)])[0]


def read_images(lake: Lake, spans: Sequence[Span]) -> list[bytes]:
    """The bytes of many images in the order asked for, neighbours in a shard with one read; all are held in memory."""
    found: dict[Span, bytes] = {}
    with ThreadPoolExecutor(8) as pool:
        for group, data in pool.map(lambda group: (group, _read_group(lake, group)), _neighbours(spans)):
            start = group[0].offset
            found.update((span, data[span.offset - start : span.offset - start + span.length]) for span in group)
    return [found[span] for span in spans]


def shard_uri(lake: Lake, shard: str) -> str:
    """The full address of a shard, for readers outside this project."""
    storage, path = _place(lake, shard)
    return storage.uri(path)


def _place(lake: Lake, shard: str) -> tuple[Storage, str]:
    # Rows never name a machine's folders: the prefix says which of the two roots a shard is below.
    if shard.startswith(LANDING):
        return _landing(lake.settings.landing, lake.settings.s3), shard.removeprefix(LANDING)
    return lake.storage, shard


@functools.lru_cache(maxsize=8)
def _landing(root: str, s3: S3) -> Storage:
    return open_storage(root, s3)


def _neighbours(spans: Sequence[Span]) -> Iterator[list[Span]]:
    group: list[Span] = []
    for span in sorted(set(spans)):
        if group and not _fits(group, span):
            yield group
            group = []
        group.append(span)
    if group:
        yield group


def _fits(group: Sequence[Span], span: Span) -> bool:
    first, last = group[0], group[-1]
    return (
        span.shard == first.shard
        and span.offset <= last.offset + last.length + _GAP
        and span.offset + span.length - first.offset <= _READ
    )


def _read_group(lake: Lake, group: Sequence[Span]) -> bytes:
    storage, path = _place(lake, group[0].shard)
    start, stop = group[0].offset, max(span.offset + span.length for span in group)
    try:
        data = storage.read(path, start, stop - start)
    except FileNotFoundError as error:
        raise BadData(f"{storage.uri(path)} is gone, but images are in it. Put it back or run images again.") from error
    if len(data) < stop - start:
        raise BadData(f"{storage.uri(path)} is shorter than it was. Put it back or run images again.")
    return data
