"""Pictures that the card of a release shows beside their captions."""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kale_tasks.imaging import file_ending
from kale_tasks.lake.io_errors import reading
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.shards import Span, read_images
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Lake
from kale_tasks.release.built import Built
from kale_tasks.release.files import ReleaseFile
from kale_tasks.settings.publish import Publish
from kale_tasks.urls import normal_url

FOLDER = "pictures/samples/"
_LARGEST = 1 << 20  # bytes of a picture: a card has to open quickly
_LOOKED_AT = 200  # captions of a file: uids are hashes, so the first ones are any
_COLUMNS = ("uid", "key", "url", "sha256", "alt_text", "caption", "flags")


@dataclass(frozen=True)
class Sample:
    """A picture with the texts beside it, and where it comes from."""

    data: bytes
    caption: str
    alt_text: str
    url: str

    @property
    def name(self) -> str:
        """Its file in the release."""
        return f"{FOLDER}{hashlib.sha256(self.data).hexdigest()[:16]}.{file_ending(self.data)}"

    @property
    def host(self) -> str:
        """The host that it comes from; empty if its address is none of the web."""
        return (normal_url(self.url) or ("", ""))[0]


def samples_of(lake: Lake, built: Built, settings: Publish) -> list[Sample]:
    """Return at most `publish.samples` pictures, from files all over the release.

    They are of captions without a flag, and of no other hosts than `publish.sample_hosts` if it names any.
    """
    files = [file for file in built.files if file.format == "captions"]
    spread = files[:: max(1, len(files) // max(1, settings.samples))]
    found = _in_turns(_of_file(lake, file, settings.sample_hosts) for file in spread)
    return list(islice(found, settings.samples))


def _in_turns(sources: Iterable[Iterator[Sample]]) -> Iterator[Sample]:
    waiting = deque(sources)
    while waiting:
        source = waiting.popleft()
        for one in islice(source, 1):
            waiting.append(source)
            yield one


def _of_file(lake: Lake, file: ReleaseFile, hosts: Sequence[str]) -> Iterator[Sample]:
    with reading(file.path), lake.storage.arrow.open_input_file(file.path) as source:
        rows = next(pq.ParquetFile(source).iter_batches(_LOOKED_AT, columns=list(_COLUMNS))).to_pylist()
    shown = [row for row in rows if row["caption"] and not row["flags"] and _is_of(row["url"], hosts)]
    places = _places(lake, shown)
    for row in shown:
        if span := places.get((row["uid"], row["sha256"])):
            (data,) = read_images(lake, [span])
            yield Sample(data, row["caption"], row["alt_text"] or "", row["url"])


def _is_of(url: str | None, hosts: Sequence[str]) -> bool:
    host = (normal_url(url or "") or ("", ""))[0]
    return bool(host) and (not hosts or any(host == one or host.endswith(f".{one}") for one in hosts))


def _places(lake: Lake, rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], Span]:
    """Return where the captioned pictures are stored, as far as they are, by uid and SHA-256."""
    if not rows or lake.committed("images", rows[0]["key"]) is None:
        return {}
    images = Snapshot.open(lake, Partition("images", rows[0]["key"]))
    columns = ["sha256", "status", "flags", *Span._fields]
    known = images.between(rows[0]["uid"], rows[-1]["uid"], columns)
    fit = pc.and_(pc.equal(known["status"], "ok"), pc.less_equal(known["length"], _LARGEST))
    wanted = pc.is_in(known["uid"], value_set=pa.array([row["uid"] for row in rows]))
    return {
        (row["uid"], row["sha256"]): Span(row["shard"], row["offset"], row["length"])
        for row in known.filter(pc.and_(fit, wanted)).to_pylist()
        if not row["flags"]
    }
