"""Previews: overlay lakes for runs on a few rows, which read the real lake and never write to it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression, Not
from pyiceberg.table import Table

from kale_tasks.errors import BadConfig
from kale_tasks.lake.catalog import NAMESPACE, answered
from kale_tasks.lake.listing import DataFile, row_order
from kale_tasks.lake.partition import Partition, partition_filter
from kale_tasks.lake.scan import Where, parsed
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.storage.base import Storage
from kale_tasks.lake.storage.open import open_storage
from kale_tasks.lake.storage.overlay import OverlayStorage
from kale_tasks.lake.tables import Committed, Lake, committed_in
from kale_tasks.lake.times import utc_now
from kale_tasks.settings.model import Settings

FOLDER = ".preview"
_NAMESPACE = f"{NAMESPACE}_preview_"
_FILE = "preview.json"
# Tables whose commits add rows to a partition: a preview shows its own rows beside those of the real lake.
_ADDED_TO = ("models", "runs")


def open_lake(settings: Settings, *, create: bool = False) -> Lake:
    """Open the lake of these settings, or the preview in it that they name."""
    lake = Lake(settings, create=create)
    return PreviewLake(lake, settings.preview_name) if settings.preview_name else lake


def real_lake(settings: Settings, action: str) -> Lake:
    """Open the lake of these settings for an action that no preview allows; BadConfig if they name one."""
    if settings.preview_name:
        raise no_preview(action, settings.preview_name)
    return Lake(settings, create=False)


def no_preview(action: str, name: str) -> BadConfig:
    """Return the error for an action that works on the real lake only."""
    return BadConfig(
        f"{action} does not work in a preview, and the settings name the preview '{name}'. Leave out `limit` and "
        f"`preview` (`kale config` shows where they are set)."
    )


class PreviewLake(Lake):
    """A lake with tables of its own below `.preview/NAME`. What it has not made itself comes from the real lake."""

    def __init__(self, real: Lake, name: str) -> None:
        self.settings, self.identity, self.catalog = real.settings, real.identity, real.catalog
        self.real, self.preview = real, name
        self._place = open_storage(f"{real.storage.root}/{FOLDER}/{name}", real.settings.s3)
        self.storage = OverlayStorage(self._place, real.storage, hidden=FOLDER)
        self._namespace = f"{_NAMESPACE}{name}"

    @property
    def exists(self) -> bool:
        """Whether the preview was begun, and has not been deleted since."""
        return self.preview in preview_names(self.catalog)

    def identify(self) -> None:
        """Begin the preview, unless it exists."""
        if self.exists:
            return
        left_over = [entry.path for entry in self._place.entries("")]
        answered(lambda: self.catalog.create_namespace_if_not_exists(self._namespace), self.catalog_uri)
        for path in left_over:  # of a deletion that was interrupted
            self._place.delete(path)
        self._place.put(_FILE, json.dumps({"name": self.preview, "at": utc_now()}).encode())

    def require(self) -> None:
        """Raise BadConfig if nothing was run in this preview."""
        if not self.exists:
            known = ", ".join(preview_names(self.catalog)) or "none"
            raise BadConfig(
                f"There is no preview '{self.preview}' (previews: {known}). Begin it with "
                f"`kale run STEP --key KEY --limit 100 --preview {self.preview}`."
            )

    def own(self, name: str) -> dict[Partition, Committed]:
        """The partitions of a table that the preview itself made."""
        return super().partitions(name) if self._own_table(name) else {}

    def tables(self) -> list[str]:
        known = {*self.real.tables(), *self._own_tables()}
        return [name for name in TABLES if name in known]

    def committed(self, name: str, key: str, slice_: Mapping[str, Any] | None = None) -> Committed | None:
        own = self._own_table(name)
        return (committed_in(own, key, slice_) if own else None) or self._real_committed(name, key, slice_)

    def committed_at(
        self, table: Table, name: str, key: str, slice_: Mapping[str, Any] | None = None
    ) -> Committed | None:
        return committed_in(table, key, slice_) or self._real_committed(name, key, slice_)

    def partitions(self, name: str) -> dict[Partition, Committed]:
        return dict(sorted({**self._real_partitions(name), **self.own(name)}.items()))

    def files(
        self,
        name: str,
        key: str | None = None,
        slice_: Mapping[str, Any] | None = None,
        where: Where = None,
    ) -> list[DataFile]:
        found = super().files(name, key, slice_, where) if self._own_table(name) else []
        if name in self.real.tables():
            found += self.real.files(name, key, slice_, self._outside(name, where))
        return sorted(found, key=row_order)

    def opened(self, partition: Partition) -> tuple[Committed, tuple[DataFile, ...]] | None:
        committed = self.committed(partition.table, partition.key, partition.columns)
        if committed is None:
            return None
        return committed, tuple(self.files(partition.table, partition.key, partition.columns))

    def opened_all(self, name: str) -> dict[Partition, tuple[Committed, tuple[DataFile, ...]]]:
        found = dict(self.real.opened_all(name)) if name in self.real.tables() else {}
        for partition, (committed, files) in (super().opened_all(name) if self._own_table(name) else {}).items():
            added_to = found[partition][1] if name in _ADDED_TO and partition in found else ()
            found[partition] = committed, (*added_to, *files)
        return dict(sorted(found.items()))

    def batches(
        self,
        name: str,
        key: str | None = None,
        columns: Sequence[str] | None = None,
        where: Where = None,
        slice_: Mapping[str, Any] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        if name in self.real.tables():
            yield from self.real.batches(name, key, columns, self._outside(name, where), slice_)
        if self._own_table(name):
            yield from super().batches(name, key, columns, where, slice_)

    def arrow(
        self,
        name: str,
        key: str | None = None,
        columns: Sequence[str] | None = None,
        where: Where = None,
        slice_: Mapping[str, Any] | None = None,
    ) -> pa.Table:
        own = self._own_table(name) or name not in self.real.tables()
        parts = [super().arrow(name, key, columns, where, slice_)] if own else []
        if name in self.real.tables():
            parts.insert(0, self.real.arrow(name, key, columns, self._outside(name, where), slice_))
        return pa.concat_tables(parts)

    def _own_tables(self) -> set[str]:
        if not self.exists:
            return set()
        return {name for _, name in answered(lambda: self.catalog.list_tables(self._namespace), self.catalog_uri)}

    def _own_table(self, name: str) -> Table | None:
        return self.table(name) if name in self._own_tables() else None

    def _real_partitions(self, name: str) -> dict[Partition, Committed]:
        # Asked for first: opening a table that does not exist would create it.
        return self.real.partitions(name) if name in self.real.tables() else {}

    def _real_committed(self, name: str, key: str, slice_: Mapping[str, Any] | None) -> Committed | None:
        return self.real.committed(name, key, slice_) if name in self.real.tables() else None

    def _replaced(self, name: str) -> BooleanExpression:
        """Select the rows of the real lake that this preview does not replace."""
        row_filter: BooleanExpression = AlwaysTrue()
        for partition in self.own(name) if name not in _ADDED_TO else ():
            row_filter = And(row_filter, Not(partition_filter(partition.key, partition.columns)))
        return row_filter

    def _outside(self, name: str, where: Where) -> BooleanExpression:
        return And(parsed(where), self._replaced(name))


def preview_names(catalog: Catalog) -> list[str]:
    """List the previews in a catalog."""
    known = answered(catalog.list_namespaces)
    return sorted(names[0].removeprefix(_NAMESPACE) for names in known if names[0].startswith(_NAMESPACE))


def expired_previews(lake: Lake, older_than: timedelta) -> list[str]:
    """List the previews in which nothing was written for this long."""
    newest: dict[str, datetime] = {}
    for entry in lake.storage.entries(FOLDER):
        name = entry.path.split("/")[1]
        newest[name] = max(entry.modified, newest.get(name, entry.modified))
    before = datetime.now(UTC) - older_than
    names = {*preview_names(lake.catalog), *newest}
    return sorted(name for name in names if newest.get(name, before) <= before)


def delete_preview(catalog: Catalog, storage: Storage, name: str) -> None:
    """Delete a preview with its tables and files. Can be repeated after an interruption."""
    namespace = f"{_NAMESPACE}{name}"
    if name in preview_names(catalog):
        for table in answered(lambda: catalog.list_tables(namespace)):
            catalog.drop_table(table)
        catalog.drop_namespace(namespace)
    for entry in list(storage.entries(f"{FOLDER}/{name}")):
        storage.delete(entry.path)
