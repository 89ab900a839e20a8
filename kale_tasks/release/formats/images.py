"""Release formats that carry the image: Parquet with embedded bytes, and WebDataset tars."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from kale_tasks.imaging import file_ending
from kale_tasks.lake.columns import Column
from kale_tasks.lake.shards import TarWriter
from kale_tasks.release.formats.base import IMAGE, FileWriter, Format, StoredImages, caption_columns


class Images(Format):
    """Captions with the bytes of their image."""

    name = "images"
    about = "captions with the image's bytes"
    version = 2  # as that of the captions
    columns: ClassVar = [*caption_columns(), Column("image", IMAGE, "The stored image.")]
    images = True
    rows_at_once = 500

    def convert(self, captions: pa.Table, images: StoredImages) -> pa.Table:
        stored = images.of(captions["uid"])
        column = [
            {"bytes": stored[uid], "path": f"{uid}.{file_ending(stored[uid])}"} if uid in stored else None
            for uid in captions["uid"].to_pylist()
        ]
        return captions.append_column("image", pa.array(column, IMAGE))


class WebDataset(Images):
    """Tars with three members for each caption: image, text and JSON."""

    name = "webdataset"
    about = "the same captions as tars with image, text and JSON"
    suffix = ".tar"
    media_type = "application/x-tar"

    @property
    def configs(self) -> Mapping[str, str]:
        return {}

    def open(self, path: Path) -> FileWriter:
        return _TarFile(path)


class _TarFile:
    def __init__(self, path: Path) -> None:
        self._tar = TarWriter(path)

    def write(self, rows: pa.Table) -> None:
        for row in rows.to_pylist():
            image = row.pop("image")
            if image is not None:
                self._tar.add(image["path"], image["bytes"])
            self._tar.add(f"{row['uid']}.txt", (row["caption"] or "").encode())
            self._tar.add(f"{row['uid']}.json", json.dumps(row, ensure_ascii=False, sort_keys=True).encode())

    def close(self) -> None:
        self._tar.close()
