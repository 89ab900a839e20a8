"""Compares the inputs that committed runs were made from with what is committed for the same keys now."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from kale_tasks.lake.marks import unanswered_marks
from kale_tasks.lake.tables import Committed, Lake

Texts = Mapping[str, Committed]  # of one key, by the id of the pass
_TABLES = ("pairs", "images")  # that later steps read by key, besides texts of passes


@dataclass(frozen=True)
class Current:
    """What is committed for every key in the tables that other steps read; takedowns aside."""

    contents: Mapping[str, Mapping[str, str]]  # by table, or by the id of a pass, and key
    texts: Mapping[str, Texts]  # by key
    marked: Mapping[str, Collection[str]]  # by key: passes with a mark, which must be made again


def current_contents(lake: Lake) -> Current:
    """Read what is committed now."""
    marked = defaultdict[str, set[str]](set)
    for partition in unanswered_marks(lake, "texts"):
        marked[partition.key].add(str(partition.columns["pass"]))
    contents = {name: {p.key: c.identity for p, c in lake.partitions(name).items()} for name in _TABLES}
    texts = texts_by_key(lake)
    for key, passes in texts.items():  # inputs name a pass by its id
        for name, committed in passes.items():
            contents.setdefault(name, {})[key] = committed.identity
    return Current(contents, texts, marked)


def texts_by_key(lake: Lake) -> dict[str, dict[str, Committed]]:
    """Return the committed passes of every key."""
    found = defaultdict[str, dict[str, Committed]](dict)
    for partition, committed in lake.partitions("texts").items():
        found[partition.key][str(partition.columns["pass"])] = committed
    return dict(found)


def with_sources(named: Iterable[str], texts: Texts) -> set[str]:
    """Return the named passes of a key that are committed, and all that these were made of."""
    kept, left = set[str](), [name for name in named if name in texts]
    while left:
        name = left.pop()
        if name not in kept:
            kept.add(name)
            left += [source for source in texts[name].inputs if source in texts]
    return kept


def changed_inputs(key: str, inputs: Mapping[str, str], current: Current) -> Sequence[str]:
    """Return the tables whose rows of a key are no longer those that a run read. Other inputs are not compared."""
    known = current.contents
    return [name for name, content in inputs.items() if name in known and known[name].get(key) != content]


def is_fresh(key: str, committed: Committed | None, current: Current) -> bool:
    """Whether a run is committed for a key and was made from the rows that are committed there now.

    The texts that it was made of must be so, too, and none of them may have a mark.
    """
    if committed is None or changed_inputs(key, committed.inputs, current):
        return False
    texts, marked = current.texts.get(key, {}), current.marked.get(key, ())
    sources = with_sources(committed.inputs, texts)
    return not any(name in marked or changed_inputs(key, texts[name].inputs, current) for name in sources)
