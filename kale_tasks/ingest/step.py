"""The ingest step: landing files of a key become its rows of `pairs`, found again by later keys in `dedup_index`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, ClassVar

import pyarrow as pa

from kale_tasks.contract.step import Chunk, Part
from kale_tasks.errors import Conflict
from kale_tasks.ingest.blocklists import contents, read_lists
from kale_tasks.ingest.clean import CLEAN, FACTS, SKETCHES, Cleaner
from kale_tasks.ingest.dedup import decide
from kale_tasks.ingest.engine import Engine, query
from kale_tasks.ingest.engines import open_engine
from kale_tasks.ingest.pieces import Piece, content_of, data_files, first_pieces, pieces_of
from kale_tasks.ingest.previous_keys import TABLE as INDEX
from kale_tasks.ingest.previous_keys import earlier_content, earlier_files
from kale_tasks.ingest.rules import Privacy
from kale_tasks.ingest.scan import Scan
from kale_tasks.ingest.write_parts import Cutter
from kale_tasks.lake.landing import landing_storage
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.tombstones import matcher
from kale_tasks.runner.run import Run
from kale_tasks.settings import Settings


class Ingest:
    """Cleans, deduplicates (within the key and against all earlier ones), decontaminates and splits."""

    name: ClassVar[str] = "ingest"
    version: ClassVar[int] = 1
    table: ClassVar[str] = "pairs"
    slice: ClassVar[Mapping[str, Any]] = {}
    also: ClassVar[tuple[str, ...]] = (INDEX,)
    keep: ClassVar[bool] = False

    def config(self, settings: Settings) -> Mapping[str, Any]:
        """Rules, lists with their content, deduplication, split, columns, size of a part."""
        lists = contents(landing_storage(settings), settings.ingest.lists)
        return {**settings.ingest.semantic(), "limit": settings.limit, "list_contents": lists}

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, str]:
        """What has landed, what earlier keys have kept, what is taken down: a change of any makes this key stale."""
        return {
            "landing": content_of(landing_storage(settings), data_files(settings, key)),
            "earlier_keys": earlier_content(lake, key),
            "takedowns": matcher(lake).content,
        }

    def chunks(self, run: Run) -> Sequence[Chunk]:
        """One: the rows of a key are compared with each other, and the engine spreads that itself."""
        rows = sum(piece.rows for piece in _pieces(run))
        rows = min(rows, run.settings.limit or rows)
        return [Chunk(index=0, first_part=0, parts=max(1, -(-rows // run.settings.ingest.part_rows)), stop=rows)]

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        """Scan, decide, cut; scratch files stay until all is done, so that a second try scans nothing twice."""
        settings, storage = run.settings.ingest, run.lake.storage
        landing = landing_storage(run.settings)
        known = read_lists(landing, settings.lists)
        folder = f"{run.folder}/scratch"
        cleaner = Cleaner(settings, known, matcher(run.lake), run.key, chunk.parts)
        scan = Scan(landing, storage, folder, cleaner, run.settings.limit)
        cutter = Cutter(run.writer, frozenset(numbers), Privacy(known.patterns["pii"]), settings.samples)
        with closing(open_engine(settings, storage, folder, chunk.stop)) as engine:
            _load(engine, run, scan)
            decide(engine, settings)
            made = set()
            for meta in engine.consume(query("finish"), cutter):
                made.add(meta.number)
                yield meta
        yield from (Part(number, pa.table({}), rows_in=0) for number in numbers if number not in made)
        for entry in list(storage.entries(folder)):
            storage.delete(entry.path)


def _load(engine: Engine, run: Run, scan: Scan) -> None:
    engine.read("earlier", earlier_files(run.lake, run.key), TABLES[INDEX].arrow)
    if earlier_content(run.lake, run.key) != run.inputs["earlier_keys"]:
        raise Conflict(f"An earlier key was ingested anew while {run.key} was being planned. Run {run.key} again.")
    files = list(engine.scan(scan, _pieces(run)))
    engine.read("landed", files, CLEAN)
    for kind, schema in SKETCHES.items():
        engine.read(kind, files, schema)
    engine.read("rows", files, FACTS)
    if run.settings.limit:
        engine.keep("rows", f"SELECT * FROM rows ORDER BY id LIMIT {run.settings.limit}")


def _pieces(run: Run) -> Sequence[Piece]:
    files = data_files(run.settings, run.key)
    pieces = pieces_of(landing_storage(run.settings), files, run.settings.ingest.piece_rows)
    return first_pieces(pieces, run.settings.limit)
