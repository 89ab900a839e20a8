"""Images of a lake for reports, opened with care: they come from strangers, and shards can be gone."""

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kale_tasks.errors import BadData
from kale_tasks.lake.shards import Span, read_image
from kale_tasks.lake.tables import Lake

if TYPE_CHECKING:
    from PIL.Image import Image

COLUMNS = ["uid", "status", *Span._fields]
_FORMATS = ["JPEG", "PNG", "WEBP", "GIF"]


def picture(lake: Lake, row: Mapping[str, Any]) -> "Image | None":
    """The picture of a row of `images`, if there is one that can be had and read."""
    from PIL import Image

    if row["status"] != "ok":
        return None
    try:
        data = read_image(lake, *(row[name] for name in Span._fields))
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            return image.convert("RGB")
    except (BadData, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
