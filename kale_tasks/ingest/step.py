"""The ingest step: turns the landing files of a key into its rows of `pairs`, and indexes them for later keys."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, ClassVar

import pyarrow as pa

from kale_tasks.contract.step import Input, Step
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.errors import Conflict, KaleError
from kale_tasks.ingest.blocklists import hashed_settings, list_contents, read_lists
from kale_tasks.ingest.clean import CLEAN, FACTS, SKETCHES, RowCleaner
from kale_tasks.ingest.content import landing_content, read_content
from kale_tasks.ingest.dedup import decide
from kale_tasks.ingest.earlier import EarlierEntries
from kale_tasks.ingest.engine import Engine, query
from kale_tasks.ingest.pieces import Piece, data_files, first_pieces, pieces_of
from kale_tasks.ingest.rules import PersonalData, configured_rules, extra_rule_versions
from kale_tasks.ingest.scan import Scan
from kale_tasks.ingest.write_parts import PartWriter
from kale_tasks.lake.index import INDEX
from kale_tasks.lake.landing import landing_storage
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.segments import segments_of
from kale_tasks.lake.storage.base import Storage
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.tombstones import matcher
from kale_tasks.runner.commit import finish_all
from kale_tasks.runner.run import Run
from kale_tasks.settings import Settings
from kale_tasks.settings.ingest import Ingest as IngestSettings


class Ingest(Step):
    """Cleans the rows of a key, drops duplicates and evaluation items, and assigns each kept row to a split."""

    name: ClassVar[str] = "ingest"
    version: ClassVar[int] = 8
    table: ClassVar[str] = "pairs"
    also: ClassVar[tuple[str, ...]] = (INDEX,)
    side_table: ClassVar[str] = INDEX

    def config(self, settings: Settings) -> Mapping[str, Any]:
        """Return the settings of ingest that change rows, with the content of lists and the versions of extra rules."""
        named = settings.ingest.lists
        lists = {"lists": hashed_settings(named), "list_contents": list_contents(landing_storage(settings), named)}
        known = {**settings.ingest.semantic(), "limit": settings.limit, **lists}
        versions = extra_rule_versions(settings.ingest.rules)
        return {**known, "rule_versions": versions} if versions else known

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        """Return the content of the landing files."""
        return {"landing": landing_content(lake, settings, key)}

    def side_snapshot(self, lake: Lake) -> int | None:
        """Return the snapshot of the index, after interrupted commits are finished."""
        finish_all(lake, self)
        return super().side_snapshot(lake)

    def chunks(self, run: Run) -> Sequence[Chunk]:
        """Plan a single chunk: all rows of a key are compared with each other, and the engine distributes that."""
        rows = sum(piece.rows for piece in _pieces(run))
        rows = min(rows, run.settings.limit or rows)
        return [Chunk(index=0, first_part=0, parts=max(1, -(-rows // run.settings.ingest.part_rows)), stop=rows)]

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        """Clean the rows, decide which are dropped, and write the parts.

        Scratch files are deleted at the end only, so that another attempt cleans no piece again.
        """
        settings, storage = run.settings.ingest, run.lake.storage
        landing = landing_storage(run.settings)
        lists = read_lists(landing, settings.lists)
        folder = f"{run.folder}/scratch"
        cleaner = RowCleaner(
            settings, lists, configured_rules(settings, lists), matcher(run.lake), run.key, chunk.parts
        )
        scan = Scan(landing, storage, folder, cleaner, run.settings.limit)
        masks, facts = PersonalData(lists.patterns["pii"]), settings.dedup.near and settings.dedup.policy != "off"
        write = PartWriter(run.writer, frozenset(numbers), masks, settings.samples, facts)
        with _scratch_of(run, folder), closing(_open_engine(settings, storage, folder, chunk.stop)) as engine:
            _load(engine, run, scan)
            decide(engine, settings)
            written = set()
            for meta in engine.consume(query("all_rows"), write):
                written.add(meta.number)
                yield meta
        yield from (Part(number, pa.table({}), rows_in=0) for number in numbers if number not in written)
        for entry in list(storage.entries(folder)):
            storage.delete(entry.path)


def _open_engine(settings: IngestSettings, storage: Storage, scratch: str, rows: int) -> Engine:
    """Open the engine that `ingest.engine` names.

    `auto` takes DuckDB up to `ingest.small_rows` rows, so that small keys do not wait for a JVM, and Spark beyond.
    `scratch` is the folder in the warehouse for intermediate files.
    """
    if settings.engine == "spark" or (settings.engine == "auto" and rows > settings.small_rows):
        from kale_tasks.ingest.spark import SparkEngine

        return SparkEngine(settings, storage, scratch)
    from kale_tasks.ingest.duck import DuckEngine

    return DuckEngine(settings, storage)


@contextmanager
def _scratch_of(run: Run, folder: str) -> Iterator[None]:
    """Raise Conflict instead of an error of the engine if another attempt has deleted the scratch files."""
    try:
        yield
    except (KaleError, ImportError):
        raise
    except Exception as error:
        if any(run.lake.storage.entries(folder)):
            raise
        raise Conflict(f"Another process has finished the work on {run.key}. Run {run.key} again.") from error


def _load(engine: Engine, run: Run, scan: Scan) -> None:
    """Register the tables that the queries read: the cleaned rows of the key, and what earlier keys share with them."""
    files = list(engine.scan(scan, _pieces(run)))
    if read_content(run.lake, run.settings, run.key) != run.inputs["landing"]:
        raise Conflict(f"The landing files of {run.key} have changed since it was planned. Run {run.key} again.")
    engine.read("landed", files, CLEAN)
    for kind, schema in SKETCHES.items():
        engine.read(kind, files, schema)
    engine.read("rows", files, FACTS)
    earlier = EarlierEntries(run.lake.storage, scan.folder, files)
    engine.read("earlier", sorted(engine.search(earlier, segments_of(run.side_inputs))), TABLES[INDEX].arrow)
    if run.settings.limit:
        engine.create_table("rows", query("first_rows", {"limit": run.settings.limit}))


def _pieces(run: Run) -> Sequence[Piece]:
    files = data_files(run.settings, run.key)
    pieces = pieces_of(landing_storage(run.settings), files, run.settings.ingest.piece_rows)
    return first_pieces(pieces, run.settings.limit)
