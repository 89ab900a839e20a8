"""Compares the inputs that committed runs were made from with what is committed for the same keys now."""

from collections.abc import Mapping, Sequence

from kale_tasks.lake.tables import Committed, Lake

_TABLES = ("pairs", "images")  # that later steps read by key, besides texts of passes


def current_contents(lake: Lake) -> dict[str, dict[str, str]]:
    """Return what the committed run of every key has made in each table that other steps read; takedowns aside."""
    found = {name: {p.key: c.identity for p, c in lake.partitions(name).items()} for name in _TABLES}
    for partition, committed in lake.partitions("texts").items():  # inputs name a pass by its id
        found.setdefault(str(partition.columns["pass"]), {})[partition.key] = committed.identity
    return found


def changed_inputs(key: str, inputs: Mapping[str, str], current: Mapping[str, Mapping[str, str]]) -> Sequence[str]:
    """Return the tables whose rows of a key are no longer those that a run read. Other inputs are not compared."""
    return [name for name, content in inputs.items() if name in current and current[name].get(key) != content]


def is_fresh(key: str, committed: Committed | None, current: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether a run is committed for a key and was made from the rows that are committed there now."""
    return committed is not None and not changed_inputs(key, committed.inputs, current)
