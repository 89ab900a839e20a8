"""Compares a release with the published one: rows added, removed and changed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kale_tasks.lake.tables import Lake
from kale_tasks.release.built import Built
from kale_tasks.release.files import ReleaseFile
from kale_tasks.release.targets.base import Current
from kale_tasks.resources import sql


@dataclass(frozen=True)
class Diff:
    """Rows by what happens to them, and the files to send."""

    old: str | None
    new: str
    rows_in: int
    rows_out: int
    rows_changed: int
    rows_same: int
    files_new: int
    files_gone: int
    bytes_new: int

    def as_json(self) -> dict[str, Any]:
        """Return the figures by name."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.new} against {self.old or 'nothing published'}: {self.rows_in:,} rows in, {self.rows_out:,} out, "
            f"{self.rows_changed:,} changed, {self.rows_same:,} unchanged; {self.files_new} files to send "
            f"({self.bytes_new:,} bytes), {self.files_gone} to remove."
        )


def diff(lake: Lake, built: Built, current: Current) -> Diff:
    """Compare a built release with the current one of a target. Reads only files that differ."""
    published = current.names
    fresh = [f for f in built.files if published.get(f.name) != f.sha256]
    kept = {f.name for f in built.files} - {f.name for f in fresh}
    new = [f for f in fresh if f.format == "captions"]
    old = [f for f in current.manifest.get("files", ()) if f["name"] not in kept and f["format"] == "captions"]
    rows = _rows(lake, _paths(lake, old), new)
    same = sum(f.rows for f in built.files if f.format == "captions" and f.name in kept)
    return Diff(
        old=current.version,
        new=built.version,
        rows_in=rows["added"],
        rows_out=rows["removed"] + sum(f["rows"] for f in old) - rows["old"],
        rows_changed=rows["changed"],
        rows_same=rows["same"] + same,
        files_new=len(fresh),
        files_gone=sum(1 for name in published if name not in {f.name for f in built.files}),
        bytes_new=sum(f.bytes for f in fresh),
    )


def _paths(lake: Lake, old: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return where the old files are in the warehouse; rows of a deleted file count as removed."""
    hashes = {file["sha256"] for file in old}
    if not hashes:
        return []
    rows = lake.arrow("releases", columns=["path", "sha256"]).to_pylist()
    return sorted({r["path"] for r in rows if r["sha256"] in hashes and lake.storage.exists(r["path"])})


def _rows(lake: Lake, old: Sequence[str], new: Sequence[ReleaseFile]) -> dict[str, int]:
    import duckdb
    import pyarrow.dataset as ds
    from pyarrow import schema, string

    columns = schema([("uid", string()), ("caption", string())])
    connection = duckdb.connect()
    for name, paths in (("old", old), ("new", [file.path for file in new])):
        files = ds.dataset(list(paths), schema=columns, format="parquet", filesystem=lake.storage.arrow)
        connection.register(f"{name}_rows", files)
    found = connection.execute(sql("reports/release_diff")).fetchone()
    assert found is not None
    return dict(zip(("added", "removed", "changed", "same", "old"), (int(n) for n in found), strict=True))
