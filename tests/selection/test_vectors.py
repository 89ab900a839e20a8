"""Vectors are read by row group: of small files, and of the large ones that parts are merged into."""

import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kale_tasks.errors import BadData
from kale_tasks.lake.parts import GROUP_ROWS, LargeFile, PartMeta
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.selection.choose import Wanted, choose
from kale_tasks.selection.engine import DuckEngine
from kale_tasks.selection.vectors import Floats, Vectors, product
from tests.selection.points import clustered, known, steps, stored, texts, with_copies

ROWS = 2 * GROUP_ROWS + 3000


def merged(folder: Path) -> Vectors:
    """The same vectors in one file, as the parts of a run are merged."""
    folder.mkdir()
    storage, schema = FolderStorage(str(folder)), TABLES["texts"].selected(["uid", "vector"])
    with LargeFile(schema) as file:
        for part in texts(points(), 500):
            file.add(part)
        made = file.put(storage, "texts", PartMeta("run", 0, ROWS, ROWS))
    return Vectors(storage, ((made.path, made.rows), ("texts/none.parquet", 0)))


def points() -> Floats:
    return with_copies(clustered(ROWS, 16, 40, seed=1, spread=1.5), ROWS // 30, seed=2)[0]


def test_a_large_file_is_read_in_blocks_of_a_row_group(tmp_path: Path) -> None:
    large, small = merged(tmp_path / "large"), stored(tmp_path, points())
    blocks = [pickle.loads(pickle.dumps(large)).read(block) for block in range(len(large.blocks))]
    assert [len(block) for block in blocks] == [GROUP_ROWS, GROUP_ROWS, 3000]
    assert (np.concatenate(blocks) == steps(points())).all()
    assert max(len(small.read(block)) for block in range(len(small.blocks))) <= GROUP_ROWS
    wanted = np.arange(ROWS) % 3 == 1
    assert (large.sample(wanted, 700) == small.sample(wanted, 700)).all()
    assert len(large.sample(wanted, 700)) == 700 and len(large.sample(wanted, ROWS)) == wanted.sum()


def test_the_same_rows_are_chosen_whatever_the_files(tmp_path: Path) -> None:
    files = [merged(tmp_path / "large")]
    for part_rows in (500, 5000):
        (tmp_path / str(part_rows)).mkdir()
        files.append(stored(tmp_path / str(part_rows), points(), part_rows))
    wanted = Wanted(product(0.97), copies="drop", share=0.2)
    nothing = np.zeros((0, 0), np.float32)
    first, *others = [choose(DuckEngine("1GB"), vectors, known(ROWS), wanted, nothing) for vectors in files]
    assert len(set(first.rules)) == 3
    assert all(one.rules == first.rules and (one.place == first.place).all() for one in others)


def test_vectors_of_different_lengths_are_an_error(tmp_path: Path) -> None:
    rows = pa.table([["a", "b"], [[0.5, 0.5], [1.0]]], TABLES["texts"].selected(["uid", "vector"]))
    pq.write_table(rows, tmp_path / "ragged.parquet")
    with pytest.raises(BadData, match=r"differ in length\. Run the pass that encodes them again"):
        Vectors(FolderStorage(str(tmp_path)), (("ragged.parquet", 2),)).read(0)
