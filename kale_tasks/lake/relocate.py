"""Makes a copied or moved lake a lake of its own, by writing table metadata that names files at its new place."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.io.pyarrow import PyArrowFile
from pyiceberg.manifest import ManifestEntry, ManifestFile, write_manifest, write_manifest_list
from pyiceberg.serializers import ToOutputFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from kale_tasks.errors import BadConfig, BadData, Conflict
from kale_tasks.lake.catalog import NAMESPACE, answered, no_lake, open_catalog
from kale_tasks.lake.file_io import LakeFileIO
from kale_tasks.lake.identity import LAKE_FILE, new_identity, read_identity, real_place
from kale_tasks.lake.preview import delete_preview, preview_names
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.storage.base import Storage
from kale_tasks.lake.storage.open import open_storage
from kale_tasks.settings.model import Settings

_PLACE = "kale.place"
_STAGED = "_relocated"  # suffix of a table that is complete but has not replaced the copied one yet
_CODEC: Final = "deflate"


@dataclass(frozen=True)
class Relocated:
    """The result of a relocation; no tables if the lake was at its place already."""

    place: str
    origin: str
    tables: tuple[str, ...]


class CopiedMetadata(LakeFileIO):
    """Reads metadata that names files of the original from the copy: `<table>/metadata/<file>` below the new place."""

    def new_input(self, location: str) -> PyArrowFile:
        """Return the file of the copy that corresponds to the address."""
        return super().new_input("/".join([self.properties[_PLACE], *location.split("/")[-3:]]))


def relocate(settings: Settings, *, catalog_copied: bool = False) -> Relocated:
    """Rewrite all table metadata for the place of the lake, then give it a new identity. The original is only named.

    Snapshots and their ids are kept. Until `lake.json` is replaced at the end, the lake is refused and relocation can
    be repeated. With `settings.catalog`, the caller confirms by `catalog_copied` that the original
    does not use this catalog.
    """
    storage = open_storage(real_place(settings.warehouse), settings.s3)
    identity, tag = read_identity(storage), storage.tag(LAKE_FILE)
    moved = identity is not None and identity.place != storage.root
    if moved and settings.catalog and not catalog_copied:
        raise _shared_catalog(storage.root)
    catalog = open_catalog(
        settings, {"py-io-impl": f"{__name__}.{CopiedMetadata.__name__}", _PLACE: storage.root}, create=False
    )
    tables = dict(_tables(catalog, storage))
    if identity is None and not tables:
        raise no_lake(storage.root)
    away = {name: table for name, table in tables.items() if table.location() != storage.uri(name)}
    if away and settings.catalog and not catalog_copied:
        raise _shared_catalog(storage.root)
    origin = identity.place if identity and moved else _origin(away, storage.root)
    if identity is None and away:  # so that an unfinished relocation is refused
        storage.put_if(LAKE_FILE, new_identity(origin).as_bytes(), None)
        tag = storage.tag(LAKE_FILE)
    for name, table in away.items():
        _relocate_table(catalog, storage, name, table)
    for preview in preview_names(catalog) if moved or away else ():  # their tables name files of the original
        delete_preview(catalog, storage, preview)
    if (moved or away) and not storage.put_if(LAKE_FILE, new_identity(storage.root).as_bytes(), tag):
        raise Conflict("Another process relocated this lake at the same time. Check it with `kale doctor`.")
    return Relocated(storage.root, origin, tuple(away))


def _shared_catalog(place: str) -> BadConfig:
    return BadConfig(
        f"Relocating the lake in {place} changes the catalog that the settings name, which the original lake may still "
        f"use. Set `catalog` to a copy of it and run `kale relocate --catalog-copied`."
    )


def _origin(away: Mapping[str, Table], place: str) -> str:
    return next((table.location().removesuffix(f"/{name}") for name, table in away.items()), place)


def _tables(catalog: Catalog, storage: Storage) -> Iterator[tuple[str, Table]]:
    # A table whose staged successor is all that exists was left by a relocation that was killed.
    known = {name for _, name in answered(lambda: catalog.list_tables(NAMESPACE))}
    for name in TABLES:
        if name not in known and f"{name}{_STAGED}" in known:
            catalog.rename_table((NAMESPACE, f"{name}{_STAGED}"), (NAMESPACE, name))
        elif name not in known:
            if any(entry.path.rpartition("/")[2].startswith("snap-") for entry in storage.entries(f"{name}/metadata")):
                raise BadConfig(
                    f"{storage.uri(name)} holds a table that the catalog does not know. Copy the catalog of the "
                    f"original together with its files, then run `kale relocate` again."
                )
            continue
        try:
            yield name, answered(lambda n=name: catalog.load_table((NAMESPACE, n)))  # type: ignore[misc]
        except FileNotFoundError as error:
            raise _incomplete(name, str(error)) from error


def _relocate_table(catalog: Catalog, storage: Storage, name: str, table: Table) -> None:
    staged = (NAMESPACE, f"{name}{_STAGED}")
    with suppress(NoSuchTableError):
        catalog.drop_table(staged)
    try:
        metadata_file = _Rewrite(storage, name, table).write()
    except FileNotFoundError as error:
        raise _incomplete(name, str(error)) from error
    catalog.register_table(staged, metadata_file)
    catalog.drop_table((NAMESPACE, name))
    catalog.rename_table(staged, (NAMESPACE, name))


def _incomplete(name: str, what: str) -> BadData:
    return BadData(f"The copy of {name} is not complete: {what}. Copy the lake again.")


class _Rewrite:
    """The metadata of one table, written again for its new place."""

    def __init__(self, storage: Storage, name: str, table: Table) -> None:
        self._storage, self._name, self._table = storage, name, table
        self._sizes = {entry.path: entry.size for entry in storage.entries(name)}
        self._old, self._new = f"{table.location()}/", f"{storage.uri(name)}/"
        self._manifests: dict[str, ManifestFile] = {}

    def write(self) -> str:
        """Write manifests, manifest lists and the metadata file; return the address of the last."""
        self._check_files()
        snapshots = [self._snapshot(snapshot) for snapshot in self._table.metadata.snapshots]
        metadata = self._table.metadata.model_copy(
            update={
                "location": self._storage.uri(self._name),
                "table_uuid": uuid.uuid4(),
                "snapshots": snapshots,
                "metadata_log": [],  # earlier metadata files name the original
                "statistics": [],
                "partition_statistics": [],
            }
        )
        path = self._address(f"00000-{uuid.uuid4()}.metadata.json")
        ToOutputFile.table_metadata(metadata, self._table.io.new_output(path))
        return path

    def _check_files(self) -> None:
        # A copy that was interrupted would otherwise be found out by the first reader.
        snapshot = self._table.current_snapshot()
        for manifest in snapshot.manifests(self._table.io) if snapshot else ():
            for entry in manifest.fetch_manifest_entry(self._table.io):
                address = self._moved(entry.data_file.file_path)
                if address.startswith(self._new):
                    size = self._sizes.get(self._storage.relative(address))
                    if size != entry.data_file.file_size_in_bytes:
                        raise _incomplete(self._name, f"{address} is missing or has another size")

    def _snapshot(self, snapshot: Snapshot) -> Snapshot:
        path = self._address(f"snap-{snapshot.snapshot_id}-0-{uuid.uuid4()}.avro")
        manifests = [self._manifest(m, snapshot.snapshot_id) for m in snapshot.manifests(self._table.io)]
        with write_manifest_list(
            self._table.metadata.format_version,
            self._table.io.new_output(path),
            snapshot.snapshot_id,
            snapshot.parent_snapshot_id,
            snapshot.sequence_number,
            _CODEC,
        ) as writer:
            writer.add_manifests(manifests)
        return snapshot.model_copy(update={"manifest_list": path})

    def _manifest(self, manifest: ManifestFile, snapshot_id: int) -> ManifestFile:
        # Snapshots share most of their manifests.
        if manifest.manifest_path not in self._manifests:
            entries = manifest.fetch_manifest_entry(self._table.io, discard_deleted=False)
            path, length = self._write_manifest(manifest, entries, manifest.added_snapshot_id or snapshot_id)
            others = [manifest[i] for i in range(2, len(manifest))]
            self._manifests[manifest.manifest_path] = ManifestFile(path, length, *others)
        return self._manifests[manifest.manifest_path]

    def _write_manifest(
        self, manifest: ManifestFile, entries: Sequence[ManifestEntry], snapshot_id: int
    ) -> tuple[str, int]:
        metadata = self._table.metadata
        path = self._address(f"{uuid.uuid4()}-m0.avro")
        with write_manifest(
            metadata.format_version,
            metadata.specs()[manifest.partition_spec_id],
            self._table.schema(),
            self._table.io.new_output(path),
            snapshot_id,
            _CODEC,
        ) as writer:
            for entry in entries:
                entry.data_file[1] = self._moved(entry.data_file.file_path)
                writer.add_entry(entry)
        return path, writer.to_manifest_file().manifest_length

    def _moved(self, address: str) -> str:
        # Files that were adopted from elsewhere stay where they are.
        return self._new + address.removeprefix(self._old) if address.startswith(self._old) else address

    def _address(self, file: str) -> str:
        return self._storage.uri(f"{self._name}/metadata/{file}")
