"""Chooses the captions of a release: current ones, of keys that passed their checks, all that they need at hand."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

from kale_tasks.errors import Conflict
from kale_tasks.lake.archives import TARS, archives_replaced
from kale_tasks.lake.freshness import changed_inputs, current_contents, is_fresh
from kale_tasks.lake.marks import unanswered_marks
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.lake.verdicts import blocked_runs, read_acceptance, read_verdict

IN_TWO_KEYS = "its pairs may be in another key too"
STALE = "made from rows that are replaced since"
REPLACED = "made from images of landing files that are replaced since"
GONE = "made from rows that are gone"
FAILED = "failed its checks"


@dataclass(frozen=True)
class Choice:
    """The captions that a release takes, and the reason for each partition that it leaves out, with its rows."""

    captions: Mapping[Partition, Snapshot]
    left_out: Mapping[Partition, str]
    rows_left_out: Mapping[Partition, int]


def choose(lake: Lake, recipes: set[str], key: str, opened: Mapping[Partition, Snapshot]) -> Choice:
    """Choose among the captions of some recipes up to a key. `opened` must be older than what is asked here."""
    named = {p: s for p, s in opened.items() if p.columns["recipe"] in recipes and p.key <= key}
    unfit = UnfitCaptions(lake)
    with ThreadPoolExecutor(16) as pool:  # a verdict is a small file
        found = dict(zip(named, pool.map(lambda p: unfit.reason(p.key, named[p].committed), named), strict=True))
    blocked = [p for p in blocked_runs(lake) if p.table == "captions" and p.columns["recipe"] in recipes]
    nothing = {p: FAILED for p in blocked if p.key <= key and p not in named}
    left_out = {p: reason for p, reason in found.items() if reason} | nothing
    return Choice(
        {p: s for p, s in named.items() if not found[p] and s.committed.rows},
        dict(sorted(left_out.items())),
        {p: named[p].committed.rows if p in named else 0 for p in left_out},
    )


def refuse(choice: Choice) -> Conflict:
    """Return the error of a release that must not leave anything out."""
    shown = "; ".join(f"captions {p.name}: {reason}" for p, reason in list(choice.left_out.items())[:5])
    more = f"; and {len(choice.left_out) - 5} more" if len(choice.left_out) > 5 else ""
    return Conflict(
        f"{shown}{more}. Run the steps of these keys again or accept their checks (`kale status` names both), or set "
        f"publish.unfit=leave_out to release the others."
    )


class UnfitCaptions:
    """Knows which captions are not fit for a release, and why. What is committed is read once."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        # After the captions: a commit marks the keys whose pairs may be in two keys now, and these wait.
        self._marked = {partition.key for partition in unanswered_marks(lake, "pairs")}
        self._current = current_contents(lake)
        self._made = {(t, p.key): found for t in ("pairs", "images") for p, found in lake.partitions(t).items()}
        self._made |= {(n, key): found for key, texts in self._current.texts.items() for n, found in texts.items()}

    def reason(self, key: str, committed: Committed) -> str:
        """Return the reason against captions of a key; empty if there is none."""
        if key in self._marked:
            return IN_TWO_KEYS
        above, known = list(self._above(key, committed)), self._current.contents
        if any(name in known and key not in known[name] for one in above for name in one.inputs):
            return GONE
        if not is_fresh(key, committed, self._current) or any(
            changed_inputs(key, one.inputs, self._current) for one in above
        ):
            return STALE
        if any(TARS in one.inputs for one in above) and self._has_other_archives(key):
            return REPLACED
        return FAILED if any(self._failed(one.seal_id) for one in above) else ""

    @cache  # noqa: B019 - the captions of all recipes and stages of a key have the same images
    def _has_other_archives(self, key: str) -> bool:
        return archives_replaced(self._lake, key, self._made["images", key])

    def _above(self, key: str, committed: Committed) -> Iterator[Committed]:
        """Yield captions and, by their inputs, every run of the key that they were made from."""
        waiting, seen = [committed], set[str]()
        while waiting:
            one = waiting.pop()
            yield one
            names = [name for name in one.inputs if (name, key) in self._made and name not in seen]
            seen.update(names)
            waiting += [self._made[name, key] for name in names]

    def _failed(self, seal_id: str) -> bool:
        verdict = read_verdict(self._lake.storage, seal_id)
        return bool(verdict and verdict["status"] == "failed" and not read_acceptance(self._lake.storage, seal_id))
