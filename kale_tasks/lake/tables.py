"""The lake: Iceberg tables of the project, opened, read and described by key."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as ds
from pyiceberg.expressions import And
from pyiceberg.table import Table

from kale_tasks.errors import BadConfig, BadData
from kale_tasks.lake.catalog import NAMESPACE, answered, load_or_create, no_lake, open_catalog
from kale_tasks.lake.columns import TableSpec
from kale_tasks.lake.iceberg_schema import iceberg_schema, name_mapping, partition_spec, table_properties
from kale_tasks.lake.identity import checked_identity, copied, create_identity, real_place
from kale_tasks.lake.io_errors import reading
from kale_tasks.lake.listing import DataFile, Files, described, list_files, row_order, uid_field
from kale_tasks.lake.partition import Partition, partition_filter
from kale_tasks.lake.scan import Where, parsed, scanner
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.storage.base import Storage
from kale_tasks.lake.storage.open import open_storage
from kale_tasks.settings.model import Settings

if TYPE_CHECKING:
    import duckdb

COMMITTED = "kale.committed."
Slice = Mapping[str, Any] | None  # values of the partition's columns beside the key
_ALWAYS = ("fingerprint", "content", "rows", "parts", "snapshot_id", "at")


@dataclass(frozen=True)
class Committed:
    """A table's record of one partition: the committed run and the account of its rows."""

    fingerprint: str
    content: str
    rows: int
    parts: int
    snapshot_id: int
    at: str
    rows_in: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    quarantined: int = 0
    inputs: Mapping[str, str] = field(default_factory=dict)
    because: tuple[str, ...] = ()  # names of the marks that this run and those before it have answered
    identity: str = ""  # the content as the run made it; `content` is without the rows that were taken down since
    origin: str = ""  # new when another run replaces this one
    commit: str = ""  # new with every change of the partition, takedowns included
    revision: str = ""  # of `run.json`, if rows were taken down
    seal_id: str = ""  # hash of the `run.json` with which it was sealed; names the verdict of its checks

    @property
    def version(self) -> tuple[str, str]:
        """The run and its revision; a side table with another version has not followed its main table yet."""
        return self.fingerprint, self.revision

    def as_property(self) -> str:
        """Its text in the table's properties: short, because every commit writes those of all partitions."""
        known = asdict(self) | ({"identity": ""} if self.identity == self.content else {})
        return json.dumps({n: v for n, v in known.items() if v or n in _ALWAYS}, separators=(",", ":"))

    @staticmethod
    @lru_cache(maxsize=1 << 15)  # a commit changes one of them
    def from_property(text: str) -> "Committed":
        """The same from that text."""
        try:
            known = json.loads(text)
            known.pop("config", None)  # of earlier versions; it is in `run.json`
            because = tuple(known.get("because", ()))
            return Committed(**{"identity": known.get("content", ""), **known, "because": because})
        except TypeError as error:
            raise BadData("A newer version of KALE committed to this lake. Upgrade this one.") from error


class Lake:
    """The tables of one warehouse behind one catalog."""

    preview = ""  # name of the preview, if it is one
    _namespace = NAMESPACE

    def __init__(self, settings: Settings, *, create: bool = True) -> None:
        """Open the lake of these settings; create it if there is none, unless `create` is off: then BadConfig."""
        self.settings = settings
        self.storage: Storage = open_storage(real_place(settings.warehouse), settings.s3)
        self._place = self.storage  # of its tables
        self.identity = checked_identity(self.storage)
        self.catalog = open_catalog(settings, create=create)
        self.viewed: dict[str, Table] = {}  # tables as views loaded them last
        if self.identity is None and create:
            self.identify()
        elif self.identity is None and settings.catalog and not self.tables():
            raise no_lake(self.storage.root)

    def identify(self) -> None:
        """Create `lake.json` for a new lake, or for one of an earlier version unless it was copied (BadConfig)."""
        if self.identity is None:
            for name in self.tables():
                self._load(name)
            self.identity = create_identity(self.storage)

    @cached_property
    def catalog_uri(self) -> str:
        """Where the catalog is, as given to its library."""
        return str(self.catalog.properties["uri"])

    def table(self, name: str) -> Table:
        """The Iceberg table as it is now, made or brought up to this version's columns if need be."""
        if name not in TABLES:
            raise BadConfig(f"There is no table '{name}'. Tables: {', '.join(TABLES)}.")
        spec = TABLES[name]
        table = self._load(name)
        missing = [c for c in spec.columns if c.name not in table.schema().column_names]
        return self._evolve(table, spec) if missing else table

    def tables(self) -> list[str]:
        """The tables that something was written to; to ask makes none."""
        known = answered(lambda: self.catalog.list_tables(self._namespace), self.catalog_uri)
        return [name for name in TABLES if (self._namespace, name) in known]

    def committed(self, name: str, key: str, slice_: Slice = None) -> Committed | None:
        """Return the current commit of a partition, or None."""
        return committed_in(self.table(name), key, slice_)

    def committed_at(self, table: Table, name: str, key: str, slice_: Slice = None) -> Committed | None:
        """Return the commit of a partition in this version of its table, or None."""
        return committed_in(table, key, slice_)

    def partitions(self, name: str) -> dict[Partition, Committed]:
        """Every committed partition of a table, in order of their names."""
        return {Partition.parse(name, n): committed for n, committed in _committed(self.table(name)).items()}

    def keys(self, name: str) -> list[str]:
        """Every key that a table has something committed for."""
        return sorted({partition.key for partition in self.partitions(name)})

    def files(self, name: str, key: str | None = None, slice_: Slice = None, where: Where = None) -> list[DataFile]:
        """The data files of a partition in row order, without reading any of them."""
        return self._files(self.table(name), name, key, slice_, where)

    def opened(self, partition: Partition) -> tuple[Committed, tuple[DataFile, ...]] | None:
        """What is committed for a partition and its files, from one version of the table."""
        table = self.table(partition.table)
        committed = committed_in(table, partition.key, partition.columns)
        files = self._files(table, partition.table, partition.key, partition.columns) if committed else ()
        return (committed, tuple(files)) if committed else None

    def opened_all(self, name: str) -> dict[Partition, tuple[Committed, tuple[DataFile, ...]]]:
        """What is committed for every partition of a table and its files, from one version and one scan."""
        files = list_files(self.storage, table := self.table(name), name, table.current_snapshot())
        return {p: (c, files.get(p, ())) for n, c in _committed(table).items() if (p := Partition.parse(name, n))}

    def files_at(self, name: str, snapshot_id: int) -> Files:
        """The data files that a snapshot of a table had, by partition; ValueError if it has expired."""
        if (snapshot := (table := self.table(name)).snapshot_by_id(snapshot_id)) is None:
            raise ValueError(f"{name} has no snapshot {snapshot_id}.")
        return list_files(self.storage, table, name, snapshot)

    def batches(
        self,
        name: str,
        key: str | None = None,
        columns: Sequence[str] | None = None,
        where: Where = None,
        slice_: Slice = None,
    ) -> Iterator[pa.RecordBatch]:
        """Rows as Arrow batches, columns and filter pushed down to the files."""
        with reading(name, key):
            yield from self._scanner(name, key, columns, where, slice_).to_batches()

    def arrow(
        self,
        name: str,
        key: str | None = None,
        columns: Sequence[str] | None = None,
        where: Where = None,
        slice_: Slice = None,
    ) -> pa.Table:
        """Rows as one Arrow table; for what fits in memory."""
        with reading(name, key):
            return self._scanner(name, key, columns, where, slice_).to_table()

    def duckdb(self, names: Iterable[str], key: str | None = None) -> "duckdb.DuckDBPyConnection":
        """A DuckDB connection that sees the named tables (of one key) as views over their files."""
        import duckdb

        connection = duckdb.connect()
        for name in names:  # through Arrow: DuckDB reads S3 only with an extension that it would have to download
            connection.register(name, self.arrow(name, key))
        return connection

    def _files(self, table: Table, name: str, key: str | None, slice_: Slice, where: Where = None) -> list[DataFile]:
        now = table.current_snapshot()
        if where is None:
            listed = list_files(self.storage, table, name, now, key, slice_)
            return sorted(chain.from_iterable(listed.values()), key=row_order)
        rows, uid = And(partition_filter(key, slice_), parsed(where)), uid_field(table)
        found = table.scan(row_filter=rows).plan_files() if now else ()
        return sorted((described(self.storage, task.file, uid) for task in found), key=row_order)

    def _scanner(
        self, name: str, key: str | None, columns: Sequence[str] | None, where: Where, slice_: Slice
    ) -> ds.Scanner:
        table = self.table(name)
        paths = [file.path for file in self._files(table, name, key, slice_, where)]
        return scanner(self.storage.arrow, paths, table.schema(), TABLES[name].selected(None), columns, where)

    def _load(self, name: str) -> Table:
        spec = TABLES[name]
        table = answered(
            lambda: load_or_create(self.catalog, (self._namespace, name), lambda: self._create(spec)), self.catalog_uri
        )
        if table.location() != self._place.uri(name):
            raise copied(self.storage.root, table.location().removesuffix(f"/{name}"))
        return table

    def _create(self, spec: TableSpec) -> Table:
        location = self._place.uri(spec.name)
        # Looked for in this order: who has snapshots was in the catalog before it had them.
        if self._has_snapshots(spec.name) and not self.catalog.table_exists((self._namespace, spec.name)):
            raise BadConfig(
                f"{location} holds a table that the catalog does not know. Set the catalog that knows it, or bring "
                f"that back from a copy. Nothing was touched."
            )
        schema = iceberg_schema(spec)
        return self.catalog.create_table(
            (self._namespace, spec.name),
            schema,
            location=location,
            partition_spec=partition_spec(spec, schema),
            properties=table_properties(schema),
        )

    def _has_snapshots(self, name: str) -> bool:
        return any(e.path.rpartition("/")[2].startswith("snap-") for e in self._place.entries(f"{name}/metadata"))

    def _evolve(self, table: Table, spec: TableSpec) -> Table:
        with table.transaction() as change:
            with change.update_schema() as update:
                update.union_by_name(iceberg_schema(spec))
            change.set_properties(name_mapping(change.table_metadata.schema()))
        return table


def committed_in(table: Table, key: str, slice_: Slice = None) -> Committed | None:
    """What this very version of a table says of a partition."""
    text = table.properties.get(COMMITTED + Partition.of("", key, slice_).name)
    return Committed.from_property(text) if text else None


def _committed(table: Table) -> dict[str, Committed]:
    names = sorted(p.removeprefix(COMMITTED) for p in table.properties if p.startswith(COMMITTED))
    return {name: Committed.from_property(table.properties[COMMITTED + name]) for name in names}
