"""The expert `table`: adopts values that somebody else's model found, from Parquet files with a column `uid`."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from kale_tasks.errors import BadConfig
from kale_tasks.experts.base import VALUES, Expert, ExpertRow


class TableExpert(Expert):
    """Looks rows up by uid in a Parquet file, or in all Parquet files of a folder.

    Of the files, `uid` and the column `text` are read, and `score` and `data` if they exist. Values whose score is
    missing or below `min_score` are left out.
    """

    reads_images = False

    def __init__(self, path: str, text: str = "text", min_score: float | None = None) -> None:
        self._path, self._text, self._min_score = Path(path), text, min_score

    @property
    def identity(self) -> str:
        """A hash of the files."""
        sink = hashlib.sha256()
        for file in self._files:
            with file.open("rb") as source:
                sink.update(hashlib.file_digest(source, "sha256").digest())
        return f"{self.version} {sink.hexdigest()[:20]}"

    def values(self, rows: Sequence[ExpertRow]) -> pa.Table:
        """Return the values of these uids, in the order of the rows, then of the files."""
        order = {row.uid: at for at, row in enumerate(rows)}
        found = self._table.to_table(columns=self._columns, filter=ds.field("uid").isin(list(order)))
        values = found.filter(pc.is_valid(found["text"]))
        if self._min_score is not None:
            values = values.filter(pc.greater_equal(values["score"], self._min_score))
        places = sorted(range(values.num_rows), key=[order[uid] for uid in values["uid"].to_pylist()].__getitem__)
        return values.take(pa.array(places, pa.int64())).cast(VALUES)

    @cached_property
    def _files(self) -> list[Path]:
        files = sorted(self._path.rglob("*.parquet")) if self._path.is_dir() else [self._path]
        if not files or not files[0].exists():
            raise BadConfig(f"The expert 'table' finds no Parquet file at {self._path}.")
        return files

    @cached_property
    def _table(self) -> ds.Dataset:
        table = ds.dataset([str(file) for file in self._files], format="parquet")
        needed = {"uid", self._text, *(["score"] if self._min_score is not None else [])}
        if missing := needed - set(table.schema.names):
            raise BadConfig(f"{self._path} has no column '{min(missing)}', which the expert 'table' reads.")
        return table

    @cached_property
    def _columns(self) -> dict[str, ds.Expression]:
        present = set(VALUES.names) & set(self._table.schema.names)
        columns = {field.name: ds.scalar(None).cast(field.type) for field in VALUES}
        return columns | {name: ds.field(name) for name in present} | {"text": ds.field(self._text)}
