"""Keys in any order: a commit marks the keys whose duplicates it decides differently than they did."""

from collections.abc import Mapping

from kale_tasks.contract.step import Step
from kale_tasks.errors import BadData
from kale_tasks.lake.index import INDEXES, keys_touched, overtaken
from kale_tasks.lake.marks import put_mark
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.runner.seal import SealedRun, read_committed


def mark_keys(lake: Lake, step: Step, key: str, main: Committed, sealed: SealedRun) -> None:
    """Put the marks that follow from the committed run of a key. Repeating it puts the same marks.

    Must come after the swap of the main table, and before the swap of the index: of two commits at once, one sees the
    other, and a commit without its index is one whose marks may be missing.
    """
    index_of_key = _index(step, key)
    before = lake.opened(index_of_key)
    if before and before[0].fingerprint == main.fingerprint:
        return  # rows were taken down: their duplicates in later keys must not come back for that
    former = Snapshot(lake.storage, index_of_key, *before) if before else None
    after = sealed.snapshot(lake.storage, index_of_key)
    runs = _runs(lake, step)
    unknown = {name for name, c in runs.items() if name < key and sealed.side_inputs.get(name) != c.fingerprint}
    indexes = _indexes(lake, step, {name: c for name, c in runs.items() if name > key or name in unknown})
    later = {name: index for name, index in indexes.items() if name > key}
    try:
        touched = keys_touched(key, former, after, indexes)
    except BadData:  # the former index is damaged: compare what later keys decided with what this key keeps now
        touched = {name for name, index in later.items() if overtaken(index, key, after)}
    for name in touched:
        put_mark(lake.storage, step.partition(name), _mark(key, main), f"{key} now keeps other entries")
    for name in sorted(unknown):
        if overtaken(after, name, indexes.get(name)):
            put_mark(lake.storage, step.partition(key), _mark(name, runs[name]), f"{name} was committed meanwhile")


def unfinished_keys(lake: Lake, step: Step) -> list[str]:
    """List the keys whose commit was interrupted before its index and its marks were written."""
    index = {p: committed.version for p, committed in lake.partitions(_index(step, "").table).items()}
    runs = _runs(lake, step)
    return [k for k, committed in runs.items() if committed.rows and index.get(_index(step, k)) != committed.version]


def _index(step: Step, key: str) -> Partition:
    """The partition of the step's index for a key."""
    name = next(table for table in step.also if table in INDEXES)
    return Partition.of(name, key, step.side_slice(name))


def _runs(lake: Lake, step: Step) -> dict[str, Committed]:
    return {p.key: committed for p, committed in lake.partitions(step.table).items() if p.within(step.slice)}


def _indexes(lake: Lake, step: Step, runs: Mapping[str, Committed]) -> dict[str, Snapshot]:
    # The index of the run that the main table names, also while its own table does not have it yet.
    if not runs:
        return {}
    everything = Snapshot.open_all(lake, _index(step, "").table)
    found = {name: everything[_index(step, name)] for name in runs if _index(step, name) in everything}
    for name, committed in runs.items():
        behind = name not in found or found[name].committed.version != committed.version
        if behind and (sealed := read_committed(lake.storage, step.table, name, committed)):
            found[name] = sealed.snapshot(lake.storage, _index(step, name))
    return found


def _mark(key: str, committed: Committed) -> str:
    return f"after-{key}-{committed.origin}"
