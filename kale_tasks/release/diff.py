"""Compares a release with the published one: rows added, removed and changed, in all and of each recipe."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kale_tasks.lake.tables import Lake
from kale_tasks.release.built import Built, recipe_of
from kale_tasks.release.files import ReleaseFile
from kale_tasks.release.targets.base import Current
from kale_tasks.resources import sql


@dataclass(frozen=True)
class RowDiff:
    """Rows by what happens to them."""

    rows_in: int
    rows_out: int
    rows_changed: int
    rows_same: int

    def __str__(self) -> str:
        return (
            f"{self.rows_in:,} rows in, {self.rows_out:,} out, {self.rows_changed:,} changed, {self.rows_same:,} "
            f"unchanged"
        )


@dataclass(frozen=True)
class Diff(RowDiff):
    """Rows of all recipes and of each of them, and the files to send."""

    old: str | None
    new: str
    files_new: int
    files_gone: int
    bytes_new: int
    recipes: Mapping[str, RowDiff]

    def as_json(self) -> dict[str, Any]:
        """Return the figures by name."""
        return asdict(self)

    def __str__(self) -> str:
        several = len(self.recipes) > 1
        return (
            f"{self.new} against {self.old or 'nothing published'}: {super().__str__()}; {self.files_new} files to "
            f"send ({self.bytes_new:,} bytes), {self.files_gone} to remove."
            f"{''.join(f' {name}: {found}.' for name, found in self.recipes.items() if several)}"
        )


def diff(lake: Lake, built: Built, current: Current) -> Diff:
    """Compare a built release with the current one of a target. Reads only files that differ."""
    published = current.names
    fresh = [f for f in built.files if published.get(f.name) != f.sha256]
    kept = {f.name for f in built.files} - {f.name for f in fresh}
    new = [f for f in fresh if f.format == "captions"]
    old = [f for f in current.manifest.get("files", ()) if f["name"] not in kept and f["format"] == "captions"]
    rows = _rows(lake, _paths(lake, old), new)
    same = _by_recipe((f.name, f.rows) for f in built.files if f.format == "captions" and f.name in kept)
    before = _by_recipe((f["name"], f["rows"]) for f in old)
    recipes = {name: _of_recipe(rows[name], same[name], before[name]) for name in sorted({*rows, *same, *before})}
    total = sum((Counter(asdict(found)) for found in recipes.values()), Counter[str]())
    return Diff(
        **{name: total[name] for name in RowDiff.__dataclass_fields__},
        old=current.version,
        new=built.version,
        files_new=len(fresh),
        files_gone=sum(1 for name in published if name not in {f.name for f in built.files}),
        bytes_new=sum(f.bytes for f in fresh),
        recipes=recipes,
    )


def _of_recipe(rows: Counter[str], same: int, before: int) -> RowDiff:
    """`same` rows are in files that stay; of the `before` rows in others, those of a deleted file count as removed."""
    out = rows["removed"] + before - rows["old"]
    return RowDiff(rows_in=rows["added"], rows_out=out, rows_changed=rows["changed"], rows_same=rows["same"] + same)


def _by_recipe(files: Iterable[tuple[str, int]]) -> Counter[str]:
    """Add up the rows of files, given by name, by recipe."""
    found = Counter[str]()
    for name, rows in files:
        found[recipe_of(name)] += rows
    return found


def _paths(lake: Lake, old: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return where the old files are in the warehouse, as far as they are."""
    hashes = {file["sha256"] for file in old}
    if not hashes:
        return []
    rows = lake.arrow("releases", columns=["path", "sha256"]).to_pylist()
    return sorted({r["path"] for r in rows if r["sha256"] in hashes and lake.storage.exists(r["path"])})


def _rows(lake: Lake, old: Sequence[str], new: Sequence[ReleaseFile]) -> defaultdict[str, Counter[str]]:
    """Count the rows of files by recipe and by what happens to them."""
    import duckdb
    import pyarrow.dataset as ds
    from pyarrow import schema, string

    columns = schema([("uid", string()), ("recipe", string()), ("caption", string())])
    connection = duckdb.connect()
    for name, paths in (("old", old), ("new", [file.path for file in new])):
        files = ds.dataset(list(paths), schema=columns, format="parquet", filesystem=lake.storage.arrow)
        connection.register(f"{name}_rows", files)
    found = defaultdict[str, Counter[str]](Counter)
    for row in connection.sql(sql("reports/release_diff")).to_arrow_table().to_pylist():
        found[str(row.pop("recipe"))] = Counter(row)
    return found
