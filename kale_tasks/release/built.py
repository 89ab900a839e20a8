"""A built release, read back from the lake: what `publish`, the card and the diff speak about."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kale_tasks.errors import Conflict
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.verdicts import check_path, read_mark
from kale_tasks.release.cuts import CAPTIONS
from kale_tasks.release.files import File
from kale_tasks.release.stats import Counts, add


@dataclass(frozen=True)
class PartitionCheck:
    """Check result of one partition of captions in the release."""

    partition: str
    status: str
    failed: Sequence[str]
    warnings: Sequence[str]


@dataclass(frozen=True)
class Built:
    """A release that stands in the lake."""

    version: str
    key: str
    inputs: Mapping[str, str]
    files: Sequence[File]
    stats: Counts
    checks: Sequence[PartitionCheck]

    def rows(self, config: str) -> int:
        """Rows of a config of the dataset."""
        return sum(file.rows for file in self.of(config))

    def bytes(self, config: str) -> int:
        """Bytes of a config's files."""
        return sum(file.bytes for file in self.of(config))

    def of(self, config: str) -> list[File]:
        """The files of a config: core, full, or one of the further formats."""
        if config == "core":
            return [file for file in self.files if file.name.startswith("data/stage1/")]
        return [file for file in self.files if file.format == ("captions" if config == "full" else config)]

    def globs(self, config: str) -> list[str]:
        """Patterns that match a config's files and no others."""
        return sorted({f"{file.name.rpartition('/')[0]}/*.parquet" for file in self.of(config)})

    @property
    def configs(self) -> list[str]:
        """The configs that `load_dataset` knows: all but the tars, which have no columns."""
        further = {file.format for file in self.files if file.name.endswith(".parquet")} - {"captions"}
        return ["full", "core", *sorted(further)]


def read(lake: Lake, key: str) -> Built:
    """The newest release of a key; Conflict when none was built."""
    committed = lake.committed("releases", key)
    if committed is None:
        raise Conflict(f"No release of {key} is built yet. Run release first.")
    version = f"{key}-{committed.fingerprint[:8]}"
    rows = lake.arrow("releases", key, where=f"version = '{version}'").to_pylist()
    if not rows:
        raise Conflict(f"The release of {key} was withdrawn by a takedown. Run release again.")
    files = {row["name"]: File.of_row(row) for row in rows}
    ordered = [files[name] for name in sorted(files)]
    checks = list(_checks(lake, committed.inputs))
    return Built(version, key, committed.inputs, ordered, add(file.stats for file in ordered), checks)


def manifest(built: Built) -> bytes:
    """The list of all its files with their hashes, and of the captions that it holds."""
    listed = [
        {"name": f.name, "format": f.format, "rows": f.rows, "bytes": f.bytes, "sha256": f.sha256} for f in built.files
    ]
    captions = {n.removeprefix(CAPTIONS): c for n, c in built.inputs.items() if n.startswith(CAPTIONS)}
    known = {"version": built.version, "key": built.key, "captions": captions, "files": listed}
    return json.dumps(known, indent=1, sort_keys=True).encode() + b"\n"


def _checks(lake: Lake, inputs: Mapping[str, str]) -> Iterator[PartitionCheck]:
    standing = lake.partitions("captions")
    for name in sorted(n.removeprefix(CAPTIONS) for n in inputs if n.startswith(CAPTIONS)):
        if (committed := standing.get(name)) and committed.content == inputs[CAPTIONS + name]:
            found = read_mark(lake, check_path("captions", name.split("/")[0], committed.fingerprint))
            if found:
                yield PartitionCheck(name, str(found["status"]), found["failed"], found["warnings"])
