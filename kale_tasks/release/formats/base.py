"""The base class of release formats, and the stored images that a format can embed."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Protocol, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kale_tasks.lake.columns import Column
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.shards import Span, read_images
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Lake
from kale_tasks.settings.model import Settings

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
CAPTION_COLUMNS = (
    "uid", "url", "sha256", "alt_text", "dense_caption", "caption", "stage", "recipe", "models", "prompt_hash", "flags",
    "key", "also", "confidence", "candidates", "experts",
)  # fmt: skip


class StoredImages:
    """The stored images of one key."""

    def __init__(self, lake: Lake, images: Snapshot | None) -> None:
        self._lake, self._images = lake, images

    def of(self, uids: pa.ChunkedArray) -> dict[str, bytes]:
        """Return the bytes of those images that are stored, by uid; `uids` must be sorted."""
        if self._images is None:
            return {}
        rows = self._images.between(uids[0].as_py(), uids[-1].as_py(), ["shard", "offset", "length"])
        stored = rows.filter(
            pc.and_(pc.is_in(rows["uid"], value_set=uids.combine_chunks()), pc.greater(rows["length"], 0))
        )
        spans = [Span(*span) for span in zip(*(stored[n].to_pylist() for n in Span._fields), strict=True)]
        return dict(zip(stored["uid"].to_pylist(), read_images(self._lake, spans), strict=True))


class FileWriter(Protocol):
    """Writes the rows of one file. The same rows must give the same bytes."""

    def write(self, rows: pa.Table) -> None: ...

    def close(self) -> None: ...


class ParquetFile:
    """Parquet with zstd and a page index, one row group for each batch of rows."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", write_page_index=True, store_schema=False)

    def write(self, rows: pa.Table) -> None:
        self._writer.write_table(rows.combine_chunks())

    def close(self) -> None:
        self._writer.close()


class Format(ABC):
    """A format of released captions. Subclasses are registered as `kale.formats`."""

    name: ClassVar[str]  # its folder in the release, and its config in the dataset
    about: ClassVar[str]  # one line for the card
    columns: ClassVar[Sequence[Column]]
    version: ClassVar[int] = 1  # raise it when the same captions give other rows: released files are then made again
    images: ClassVar[bool] = False  # whether `convert` reads stored images; the release then depends on `images`
    of_captions: ClassVar[bool] = True  # False: of the holdout, which has none
    split: ClassVar[str] = "train"
    rows_at_once: ClassVar[int] = 10_000
    suffix: ClassVar[str] = ".parquet"
    media_type: ClassVar[str] = "application/x-parquet"

    @abstractmethod
    def convert(self, captions: pa.Table, images: StoredImages) -> pa.Table:
        """Return the rows that these captions become, sorted by uid; `captions` has the CAPTION_COLUMNS."""

    def configured(self, settings: Settings) -> Self:
        """Return the format with what it needs of the settings."""
        return self

    def open(self, path: Path) -> FileWriter:
        """Open a new local file for rows of this format."""
        return ParquetFile(path, self.schema)

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of its rows."""
        return pa.schema([pa.field(column.name, column.type) for column in self.columns])

    @property
    def folder(self) -> str:
        """The folder of its files in the release."""
        return self.name

    @property
    def configs(self) -> Mapping[str, str]:
        """What `load_dataset` calls it, with a line for the card; empty if its files have no columns to load."""
        return {self.name: self.about}


def caption_columns(*names: str) -> list[Column]:
    """Return some columns of the table `captions`, with its types and meanings; all released ones without names."""
    known = {column.name: column for column in TABLES["captions"].columns}
    return [known[name] for name in names or CAPTION_COLUMNS]
