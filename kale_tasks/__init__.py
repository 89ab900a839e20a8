"""KALE: knowledge-augmented captions for web images, from alt-text to a published release."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def open_lake(warehouse: str = "", *settings: str) -> Any:
    """Open a lake for reading, as a `kale_tasks.explore.reader.OpenLake`.

    `warehouse` is its folder or s3:// prefix; empty: that of the settings. Further settings are given as on the command
    line: `open_lake("s3://bucket/lake", "catalog=postgresql+psycopg2://host/kale")`.
    """
    reader = import_module("kale_tasks.explore.reader")  # here, so that `import kale_tasks` stays light
    return reader.OpenLake(warehouse, settings)
