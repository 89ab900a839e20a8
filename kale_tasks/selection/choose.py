"""Decides which rows are chosen: without copies, evaluation images and rows of earlier keys, a few of each cluster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isqrt

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kale_tasks.lake.schemas import LOOK_INDEX
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.resources import sql
from kale_tasks.selection.clusters import SAMPLE_ROWS, Assign, centres, quotas
from kale_tasks.selection.copies import NONE, Basis, CopySearch
from kale_tasks.selection.earlier import Limits, index_rows, owners
from kale_tasks.selection.engine import Engine
from kale_tasks.selection.vectors import Floats, Vectors, whole

Longs = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
COPY, EARLIER, EVALUATION, NOT_CHOSEN = "near_copy", "earlier_copy", "evaluation_image", "not_chosen"
_BASIS_ROWS = 4096


@dataclass(frozen=True)
class Wanted:
    """What a selection is asked for."""

    least: int  # product from which two vectors are copies of each other
    copies: str | None = None  # flag or drop; None: not looked for
    evaluation: str | None = None
    clusters: int | None = None
    best: int | None = None
    share: float | None = None
    diverse: bool = False
    earlier: Mapping[str, Snapshot] | None = None  # the index of each earlier key; None: not looked for
    limits: Limits | None = None  # for rows of earlier keys

    @property
    def clustered(self) -> bool:
        """Whether clusters decide."""
        return bool(self.best or self.share)


@dataclass(frozen=True)
class Known:
    """What is known of rows before their vectors are compared, in their order."""

    uids: Sequence[str]
    phash: Longs
    hashed_alike: Mask  # the perceptual hash of an earlier row is near
    evaluation: Mask  # the perceptual hash of an evaluation image is near


@dataclass
class Selection:
    """What was decided about rows, in their order."""

    known: Known
    rules: list[str]  # the rule that drops a row; empty: it is chosen
    copy: Mask
    evaluation: Mask
    owners: list[str | None]  # the earlier key that keeps a copy
    cluster: Longs = field(default_factory=lambda: np.zeros(0, np.int64))
    closeness: Longs = field(default_factory=lambda: np.zeros(0, np.int64))
    place: Longs = field(default_factory=lambda: np.zeros(0, np.int64))

    def at(self, uid: str) -> int | None:
        """The number of a row; None if it has no vector."""
        return self._numbers.get(uid)

    def flags(self, at: int) -> list[str]:
        """The flags of a row that is kept in spite of what it is."""
        found = {COPY: self.copy[at] or self.owners[at] is not None, EVALUATION: self.evaluation[at]}
        return [flag for flag, true in found.items() if true]

    @cached_property
    def cover(self) -> dict[str, float]:
        """How many clusters there are, and how many of them have a chosen row."""
        if not len(self.cluster):
            return {}
        chosen = np.array([not rule for rule in self.rules])
        candidates = chosen | np.array([rule == NOT_CHOSEN for rule in self.rules])
        found = {"clusters": self.cluster[candidates], "clusters_covered": self.cluster[chosen]}
        return {name: float(len(np.unique(clusters))) for name, clusters in found.items()}

    def entries(self, rows: pa.Table, fixed: Mapping[str, str]) -> pa.Table:
        """The index entries of those rows that are chosen, or that were lost to an earlier key."""
        numbers = [self._numbers[uid] for uid in rows["uid"].to_pylist()]
        stored = [at for at, n in enumerate(numbers) if self.owners[n] or not (self.rules[n] or self.copy[n])]
        if not stored:
            return LOOK_INDEX.arrow.empty_table()
        kept = [numbers[at] for at in stored]
        vectors = whole(rows["vector"].take(pa.array(stored, pa.int64())), "the rows of a key")
        of_rows = [self.known.uids[n] for n in kept], vectors, self.known.phash[kept], [self.owners[n] for n in kept]
        return index_rows(*of_rows, fixed)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {uid: at for at, uid in enumerate(self.known.uids)}


def choose(engine: Engine, vectors: Vectors, known: Known, wanted: Wanted, evaluation: Floats) -> Selection:
    """Decide about the rows of a key. `evaluation` has the vectors of the evaluation set."""
    found = _compared(engine, vectors, known, wanted, evaluation)
    if wanted.clustered and "" in found.rules:
        _take_of_clusters(engine, vectors, wanted, found)
    return found


def _compared(engine: Engine, vectors: Vectors, known: Known, wanted: Wanted, evaluation: Floats) -> Selection:
    rows = len(known.uids)
    copy, in_evaluation = np.zeros(rows, bool), np.zeros(rows, bool)
    if rows and (wanted.copies or wanted.evaluation):
        basis = Basis.of(vectors.sample(np.ones(rows, bool), _BASIS_ROWS))
        search = CopySearch(vectors, basis, wanted.least, wanted.copies is not None, evaluation)
        found = engine.map(search, len(vectors.blocks))
        copy |= found["copy_of"].to_numpy() != NONE
        in_evaluation |= found["evaluation"].to_numpy()
        copy |= known.hashed_alike if wanted.copies else False
        in_evaluation |= known.evaluation if wanted.evaluation else False
    rules = np.full(rows, "", dtype=object)
    rules[copy & (wanted.copies == "drop")] = COPY
    rules[in_evaluation & (wanted.evaluation == "drop")] = EVALUATION
    lost = _lost(vectors, known, wanted, (rules == "") & ~copy)
    rules[np.array([key is not None for key in lost], bool) & (wanted.copies == "drop")] = EARLIER
    return Selection(known, rules.tolist(), copy, in_evaluation, lost)


def _lost(vectors: Vectors, known: Known, wanted: Wanted, kept: Mask) -> list[str | None]:
    """The earlier key that keeps a copy of a row, of rows that this key would keep."""
    found: list[str | None] = [None] * len(kept)
    if not wanted.earlier or wanted.limits is None:
        return found
    start = 0
    for block in range(len(vectors.blocks)):
        read = vectors.read(block)
        here = np.flatnonzero(kept[start : start + len(read)])
        of_rows = read[here], known.phash[start + here]
        for at, owner in zip(start + here, owners(*of_rows, wanted.earlier, wanted.limits), strict=True):
            found[at] = owner
        start += len(read)
    return found


def _take_of_clusters(engine: Engine, vectors: Vectors, wanted: Wanted, found: Selection) -> None:
    candidates = np.array([not rule for rule in found.rules])
    count = wanted.clusters or max(isqrt(int(candidates.sum())), 1)
    made = centres(vectors.sample(candidates, SAMPLE_ROWS), count)
    assigned = engine.map(Assign(vectors, made), len(vectors.blocks))
    found.cluster, found.closeness = (assigned[name].to_numpy() for name in ("cluster", "closeness"))
    sizes = np.bincount(found.cluster[candidates], minlength=len(made))
    rows = round((wanted.share or 0) * int(candidates.sum()))
    quota = np.minimum(sizes, wanted.best) if wanted.best else quotas(sizes, max(rows, 1))
    ids = np.flatnonzero(candidates)
    rows_of = pa.table({"id": ids, "cluster": found.cluster[ids], "closeness": found.closeness[ids]})
    shares = pa.table({"cluster": np.arange(len(made), dtype=np.int32), "quota": quota})
    query = sql("selection/choose").format(diverse=int(wanted.diverse))
    chosen = engine.query(query, candidates=rows_of, quotas=shares)
    found.place = np.zeros(len(found.rules), np.int64)
    found.place[chosen["id"].to_numpy()] = chosen["place"].to_numpy()
    for at in np.setdiff1d(ids, chosen["id"].to_numpy()):
        found.rules[at] = NOT_CHOSEN
