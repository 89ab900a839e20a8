"""A lake for people who write Python: `import kale_tasks as kale; lake = kale.open_lake("kale-data/warehouse")`."""

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kale_tasks.errors import BadConfig
from kale_tasks.lake import preview
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.shards import Span, read_image
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.settings import load

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from PIL.Image import Image

_NAMES = re.compile(rf"\b({'|'.join(TABLES)})\b")


class OpenLake:
    """A lake, opened for reading. Tables are `captions`, `images`, `pairs`, ...; docs/data.md has their columns.

    `where` is a condition such as "stage = 1 and facts_invented = 0"; only the rows and columns that are asked for are
    read.
    """

    def __init__(self, warehouse: str = "", settings: Sequence[str] = ()) -> None:
        """Open the lake of a warehouse, or that of the settings; BadConfig if there is none."""
        of = load([*([f"warehouse={warehouse}"] if warehouse else []), *settings]).settings
        self._lake = preview.open_lake(of)
        self._duckdb: Any = None

    def tables(self) -> list[str]:
        """The tables that have rows."""
        return self._lake.tables()

    def keys(self, table: str = "captions") -> list[str]:
        """The keys that a table has rows of."""
        return self._lake.keys(_known(table))

    def arrow(
        self, table: str = "captions", key: str | None = None, columns: Sequence[str] | None = None, where: str = ""
    ) -> "pa.Table":
        """Rows as an Arrow table."""
        return self._lake.arrow(_known(table), key, columns, where or None)

    def pandas(
        self, table: str = "captions", key: str | None = None, columns: Sequence[str] | None = None, where: str = ""
    ) -> "pd.DataFrame":
        """Rows as a data frame."""
        frame: pd.DataFrame = self.arrow(table, key, columns, where).to_pandas()
        return frame

    def sql(self, query: str, key: str | None = None) -> Any:
        """Run a query of DuckDB over the tables that it names (of one key); `.df()` or `.show()` the answer."""
        names = dict.fromkeys(_NAMES.findall(query))
        self._duckdb = self._lake.duckdb(names, key)  # kept: the answer reads from it
        return self._duckdb.sql(query)

    def spark(self, session: Any, table: str = "captions", key: str | None = None) -> Any:
        """Rows as a DataFrame of a Spark session. Of a lake in a folder, its executors read the files themselves."""
        storage = self._lake.storage
        files = self._lake.files(_known(table), key) if isinstance(storage, FolderStorage) else []
        if not files:
            return session.createDataFrame(self.arrow(table, key))
        paths = [file.path if "://" in file.path else storage.uri(file.path) for file in files]
        return session.read.option("mergeSchema", "true").parquet(*paths)

    def dataset(
        self, table: str = "captions", key: str | None = None, columns: Sequence[str] | None = None, where: str = ""
    ) -> Any:
        """Rows as a `datasets.Dataset`."""
        from datasets import Dataset
        from datasets.table import InMemoryTable

        return Dataset(InMemoryTable(self.arrow(table, key, columns, where)))

    def image(self, uid: str, key: str | None = None) -> "Image":
        """The stored image of a pair; BadConfig if it has none. With its key, less is read."""
        from PIL import Image

        found = self.arrow("images", key, ["status", "shard", "offset", "length"], f"uid = '{uid}'").to_pylist()
        stored = [row for row in found if row["status"] == "ok"]
        if not stored:
            raise BadConfig(f"There is no image of '{uid}'. `kale show images --key KEY` says why.")
        span = Span(stored[0]["shard"], stored[0]["offset"], stored[0]["length"])
        return Image.open(io.BytesIO(read_image(self._lake, *span)))


def _known(table: str) -> str:
    if table not in TABLES:
        raise BadConfig(f"There is no table '{table}'. Tables: {', '.join(TABLES)}.")
    return table
