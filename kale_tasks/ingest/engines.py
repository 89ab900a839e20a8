"""Chooses the engine: small keys do not wait for a JVM."""

from kale_tasks.ingest.engine import Engine
from kale_tasks.lake.storage.base import Storage
from kale_tasks.settings.ingest import Ingest


def open_engine(settings: Ingest, storage: Storage, scratch: str, rows: int) -> Engine:
    """The engine that the settings name, or the cheaper one for so many rows."""
    if settings.engine == "spark" or (settings.engine == "auto" and rows > settings.small_rows):
        from kale_tasks.ingest.spark import Spark

        return Spark(settings, storage, scratch)
    from kale_tasks.ingest.duck import Duck

    return Duck(settings, storage)
