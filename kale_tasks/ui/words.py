"""Indexes of words: which row groups of a key have which words in a column, so that a search need not read the others.

The first search of a large key reads every row, and an index is made meanwhile; those that come at the same time wait
for it. Files never change, so it is good for as long as they are the committed ones; then it is deleted. It is kept in
a temporary file, not in memory.
"""

import logging
from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import NamedTuple

import duckdb
import pyarrow as pa

from kale_tasks.errors import BadData, KaleError
from kale_tasks.lake.listing import DataFile
from kale_tasks.lake.parts import read_columns, row_groups
from kale_tasks.lake.storage.base import Storage
from kale_tasks.process import SCRATCH
from kale_tasks.resources import sql

_LEAST = 50_000  # rows: fewer are read as fast as an index
_MOST = 8  # indexes that are kept
_PARTS = 6  # words of a text that are looked up: each one reads the index
_PATIENCE = 2.0  # seconds that a search waits for an index that is made
_MEMORY = "128MB"  # of each index while it is made or asked
_log = logging.getLogger(__name__)


class Block(NamedTuple):
    """A row group: its file, and its first and last uid."""

    file: DataFile
    first: str
    last: str


class Index:
    """The words of a column of some files."""

    def __init__(self, storage: Storage, files: Sequence[DataFile], column: str) -> None:
        """Read the column and write the index to a file, which loses its name and so ends with its process."""
        self.blocks: list[Block] = []
        with TemporaryDirectory(prefix=f"{SCRATCH}words-") as folder:  # maintenance deletes that of a killed process
            self._words = duckdb.connect(Path(folder, "words.db"), config={"memory_limit": _MEMORY, "threads": 1})
            self._fill(_texts(storage, files, column))
            self._words.execute("CHECKPOINT")  # moves what is in the log of writes to the file

    def _fill(self, texts_by_block: Iterator[tuple[Block, pa.Table]]) -> None:
        # Temporary: what is inserted into another table is written to the disk each time, and waited for.
        self._words.execute("CREATE TEMP TABLE found (word VARCHAR, block INTEGER)")
        for number, (block, texts) in enumerate(texts_by_block):
            self.blocks.append(block)
            self._words.register("texts", texts.rename_columns(["text"]))
            self._words.execute(
                "INSERT INTO found SELECT DISTINCT lower(word), $block "
                "FROM (SELECT DISTINCT unnest(string_split(text, ' ')) AS word FROM texts)",
                {"block": number},
            )
        self._words.unregister("texts")
        self._words.execute(sql("pages/words"))

    def find(self, text: str) -> list[Block]:
        """The row groups that may have a text, in row order: no other one has it."""
        with self._words.cursor() as connection:
            (parts,) = connection.execute("SELECT string_split(lower($text), ' ')", {"text": text}).fetchone() or ([],)
            ends = (0, len(parts) - 1)
            wanted = {(_how(n, len(parts)), part) for n, part in enumerate(parts) if part or n not in ends}
            numbers = set(range(len(self.blocks)))
            for how, part in sorted(wanted, key=lambda one: -len(one[1]))[:_PARTS]:
                asked = f"SELECT DISTINCT unnest(blocks) FROM words WHERE {how}"
                numbers &= {number for (number,) in connection.execute(asked, {"part": part}).fetchall()}
        return [self.blocks[number] for number in sorted(numbers)]

    def close(self) -> None:
        """Delete it."""
        self._words.close()


class Words:
    """The indexes of a lake. They are made one after the other, by a thread of its own."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._known: OrderedDict[Hashable, tuple[Sequence[DataFile], Future[Index]]] = OrderedDict()
        self._maker = ThreadPoolExecutor(1, "words")
        self._lock, self._unindexed = Lock(), 0  # searches at work without an index

    @contextmanager
    def awaited(self, column: str, places: Collection[tuple[Hashable, Sequence[DataFile]]]) -> Iterator[None]:
        """Hold a search of large places that have no index yet, for some seconds, unless it is the only one.

        Many at once would read the same column many times over, and leave the index no time to be made.
        """
        indexes = [self._index((place, column), files, column) for place, files in places if _is_large(files)]
        if all(index.done() for index in indexes):
            yield
            return
        with self._lock:
            others, self._unindexed = self._unindexed, self._unindexed + 1
        try:
            if others:
                wait(indexes, _PATIENCE)
            yield
        finally:
            with self._lock:
                self._unindexed -= 1

    def blocks(self, place: Hashable, files: Sequence[DataFile], column: str, text: str) -> list[Block] | None:
        """The row groups of a place that may have a text. None: unknown, or too many to be of help."""
        if not _is_large(files):
            return None
        index = self._index((place, column), files, column)
        if not index.done() or index.exception():
            return None
        try:
            found = index.result().find(text)
        except duckdb.ConnectionException:  # it was deleted in this moment
            return None
        return found if 3 * len(found) <= len(index.result().blocks) else None

    def _index(self, name: Hashable, files: Sequence[DataFile], column: str) -> Future[Index]:
        with self._lock:
            known = self._known.pop(name, None)
            if known and known[0] != files:
                _forget(known[1])
                known = None
            made = known or (files, self._maker.submit(self._make, files, column))
            self._known[name] = made
            while len(self._known) > _MOST:
                _forget(self._known.popitem(last=False)[1][1])
            return made[1]

    def _make(self, files: Sequence[DataFile], column: str) -> Index:
        try:
            return Index(self._storage, files, column)
        except (KaleError, duckdb.Error, OSError):
            _log.exception("No index of %s was made; searches read every row.", column)
            raise


def _is_large(files: Sequence[DataFile]) -> bool:
    return sum(file.rows for file in files) >= _LEAST


def _texts(storage: Storage, files: Sequence[DataFile], column: str) -> Iterator[tuple[Block, pa.Table]]:
    schema = pa.schema([(column, pa.string())])
    for file in files:
        for group in row_groups(storage, file.path):
            if not group.uid_max:
                raise BadData(f"{file.path} does not say which uids its row groups have.")
            yield Block(file, group.uid_min, group.uid_max), read_columns(storage, file.path, schema, group)


def _how(number: int, parts: int) -> str:
    """How a part of a text, divided at spaces, meets the words of a row: the ends of a text may be parts of words."""
    if parts == 1:
        return "contains(word, $part)"
    if number == 0:
        return "ends_with(word, $part)"
    return "starts_with(word, $part)" if number == parts - 1 else "word = $part"


def _forget(index: Future[Index]) -> None:
    index.add_done_callback(lambda done: None if done.cancelled() or done.exception() else done.result().close())
    index.cancel()
