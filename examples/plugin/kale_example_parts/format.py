"""A release format: the first sentence of each caption."""

from typing import ClassVar

import pyarrow as pa

from kale_tasks.lake.columns import STRING, Column
from kale_tasks.release.formats.base import Format, StoredImages, caption_columns
from kale_tasks.text.sentences import sentences


class Titles(Format):
    """One row for each caption, with its first sentence as a title."""

    name = "titles"
    about = "the first sentence of each caption"
    columns: ClassVar = [*caption_columns("uid", "url"), Column("title", STRING, "First sentence of the caption.")]

    def convert(self, captions: pa.Table, images: StoredImages) -> pa.Table:
        """Return uid, URL and title of these captions."""
        titles = [next(iter(sentences(text)), "") for text in captions["caption"].to_pylist()]
        return captions.select(["uid", "url"]).append_column("title", pa.array(titles, STRING))
