"""The evaluation set: images that captions and students must not have seen."""

import pyarrow.parquet as pq

from kale_tasks.errors import BadConfig
from kale_tasks.lake.landing import landing_storage, sampled_content
from kale_tasks.lake.storage.base import Entry
from kale_tasks.lake.tables import Lake


def evaluation_content(lake: Lake) -> str | None:
    """Return a hash of the evaluation set's files; None without an evaluation set."""
    files = _files(lake)
    return sampled_content(landing_storage(lake.settings), files) if files else None


def evaluation_images(lake: Lake) -> list[bytes]:
    """Return the images of the evaluation set."""
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
        raise BadConfig(
            f"images.evaluation: no Parquet file in {folder} below the landing folder. Name another folder, or null."
        )
    return found
