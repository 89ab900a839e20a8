"""Keeps the manifests of a table few: small ones are merged by the commits, and those without files are dropped.

pyiceberg writes a manifest for each commit, and reads and writes the list of all of them at the next one. It merges
them only when rows are appended, never when a partition is replaced.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from typing import Any

from pyiceberg.manifest import ManifestContent, ManifestEntry, ManifestEntryStatus, ManifestFile
from pyiceberg.table import Transaction
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.update.snapshot import _OverwriteFiles

# It warns, with a traceback, if what a refused commit has written is deleted already: by maintenance, after a stall.
logging.getLogger("pyiceberg.table.update.snapshot").setLevel(logging.ERROR)
_FAN_IN = 16  # small manifests that are merged into one
_ENOUGH = 256  # files of a manifest that is not merged any more: replacing one of them writes the others again


class Overwrite(_OverwriteFiles):
    """Replaces files of a table, and merges the manifests of earlier commits.

    A file is written again twice at most: in a manifest of some, then in one of many.
    """

    def _existing_manifests(self) -> list[ManifestFile]:
        # Manifests of this commit cannot be merged yet: the numbers of their snapshot are given with the commit.
        found = [manifest for manifest in super()._existing_manifests() if _files(manifest)]
        return [merged for group in _groups(found) for merged in self._merged(group)]

    def _build_manifest_evaluator(self, spec_id: int) -> Callable[[ManifestFile], bool]:
        # A copy for each call: an evaluator keeps the bounds of the manifest at hand, and threads share it.
        evaluator: Any = super()._build_manifest_evaluator(spec_id).__self__  # type: ignore[attr-defined]
        return lambda manifest: bool(copy(evaluator).eval(manifest))

    def _merged(self, manifests: Sequence[ManifestFile]) -> Iterator[ManifestFile]:
        if len(manifests) < _FAN_IN:
            yield from manifests
            return
        with self.new_manifest_writer(self.spec(manifests[0].partition_spec_id)) as writer:
            for manifest in manifests:
                for entry in self.fetch_manifest_entry(manifest):
                    writer.add_entry(_as_existing(entry))
        yield writer.to_manifest_file()


def overwrite(change: Transaction, summary: dict[str, str]) -> Overwrite:
    """Begin to replace files in a transaction."""
    known = change.table_metadata.current_snapshot()
    return Overwrite(
        operation=Operation.OVERWRITE if known else Operation.APPEND,
        transaction=change,
        io=change._table.io,
        snapshot_properties=summary,
    )


def _files(manifest: ManifestFile) -> int:
    return (manifest.added_files_count or 0) + (manifest.existing_files_count or 0)


def _groups(manifests: Sequence[ManifestFile]) -> list[list[ManifestFile]]:
    """Put manifests of like size together, in their order; a manifest that is never merged is alone."""
    groups: defaultdict[object, list[ManifestFile]] = defaultdict(list)
    for manifest in manifests:
        files = _files(manifest)
        alone = files >= _ENOUGH or manifest.content != ManifestContent.DATA
        groups[manifest.manifest_path if alone else (manifest.partition_spec_id, files >= _FAN_IN)].append(manifest)
    return list(groups.values())


def _as_existing(entry: ManifestEntry) -> ManifestEntry:
    return ManifestEntry.from_args(
        status=ManifestEntryStatus.EXISTING,
        snapshot_id=entry.snapshot_id,
        sequence_number=entry.sequence_number,
        file_sequence_number=entry.file_sequence_number,
        data_file=entry.data_file,
    )
