"""Opens images of the lake for reports. They come from strangers, and their shards may be gone."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kale_tasks.errors import BadData
from kale_tasks.lake.shards import Span, read_image
from kale_tasks.lake.tables import Lake

if TYPE_CHECKING:
    from PIL.Image import Image

COLUMNS = ["uid", "status", *Span._fields]


def picture(lake: Lake, row: Mapping[str, Any]) -> "Image | None":
    """Open the image of a row of `images`; None if it was not fetched or cannot be read."""
    from kale_tasks.imaging import BrokenImage, decode_rgb

    if row["status"] != "ok":
        return None
    try:
        return decode_rgb(read_image(lake, *(row[name] for name in Span._fields)))
    except (BadData, BrokenImage):
        return None
