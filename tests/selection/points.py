"""Vectors for tests: clusters with planted copies, stored as a pass stores them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.selection.choose import Known
from kale_tasks.selection.vectors import STEPS, Floats, Vectors, in_steps


def unit(vectors: Floats) -> Floats:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clustered(rows: int, width: int, clusters: int, seed: int, spread: float = 0.5) -> Floats:
    """Vectors around as many directions, of which none is like another; like those of a network, all are positive."""
    rng = np.random.default_rng(seed)
    middles = unit(rng.standard_normal((clusters, width)) ** 2)
    of, made = rng.integers(0, clusters, rows), np.empty((rows, width), np.float32)
    for at in range(0, rows, 4096):
        near = middles[of[at : at + 4096]]
        made[at : at + 4096] = unit(np.abs(near + spread * unit(rng.standard_normal(near.shape))))
    return made


def with_copies(vectors: Floats, copies: int, seed: int, noise: float = 0.2) -> tuple[Floats, list[int]]:
    """Replace rows by slightly changed copies of rows before them; returns the rows that are copies."""
    rng, made = np.random.default_rng(seed), vectors.copy()
    later = np.sort(rng.choice(np.arange(1, len(made)), copies, replace=False))
    for row in later:
        change = noise * unit(rng.standard_normal((1, made.shape[1])))[0]
        made[row] = unit((made[rng.integers(0, row)] + change)[None])[0]
    return made, later.tolist()


def texts(vectors: Floats, part_rows: int = 500) -> Iterator[pa.Table]:
    """The rows of `texts` with these vectors, part by part."""
    schema = TABLES["texts"].selected(["uid", "vector"])
    for start in range(0, len(vectors), part_rows):
        some = in_steps(vectors[start : start + part_rows])
        uids = [f"{start + at:032x}" for at in range(len(some))]
        column = pa.ListArray.from_arrays(np.arange(len(some) + 1, dtype=np.int32) * some.shape[1], some.ravel())
        yield pa.table([uids, column.cast(schema.field("vector").type)], schema)


def stored(folder: Path, vectors: Floats, part_rows: int = 500, block_rows: int = 8192) -> Vectors:
    """Write part files of the table `texts` with these vectors."""
    files = []
    for number, part in enumerate(texts(vectors, part_rows)):
        path = f"part-{number:05d}.parquet"
        pq.write_table(part, folder / path, compression="zstd")
        files.append((path, part.num_rows))
    return Vectors(FolderStorage(str(folder)), tuple(files), block_rows)


def known(rows: int) -> Known:
    """Rows of which nothing else is known."""
    nothing = np.zeros(rows, bool)
    return Known([f"{at:032x}" for at in range(rows)], np.zeros(rows, np.int64), nothing, nothing)


def steps(vectors: Floats) -> Floats:
    """Vectors as whole numbers of steps."""
    return np.round(vectors * STEPS)
