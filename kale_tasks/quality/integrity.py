"""Checks on a run and its files that need no text: complete, readable, in order, with known inputs."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kale_tasks.errors import BadData
from kale_tasks.lake.listing import DataFile
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.shards import Span, read_image
from kale_tasks.quality.suite import Limit, Subject

LIMITS = [
    Limit("emptied", "critical", "A key without rows lost none of them to an error", 0, 0),
    Limit("rows_unexplained", "critical", "Every row read was kept, dropped by a rule or quarantined", 0, 0),
    Limit("rows_missing", "critical", "The files have as many rows as the run records", 0, 0),
    Limit("rows_unread", "critical", "Every row of the input was read", 0, 0),
    Limit("files_torn", "critical", "Every file exists and can be read", 0, 0),
    Limit("order_breaks", "critical", "Rows are sorted by unique uid across all files", 0, 0),
    Limit("files_off_schema", "critical", "Every file has the columns and types of the table", 0, 0),
    Limit("lineage_gaps", "critical", "The run records its inputs and settings", 0, 0),
    Limit("inputs_stale", "warning", "No input has changed since the run", 0, 0),
]


def figures(subject: Subject) -> dict[str, float | None]:
    """Compute the figures of `LIMITS`. Those that need rows are None if a file cannot be read."""
    committed, schemas = subject.committed, _schemas(subject)
    torn = sum(schema is None for schema in schemas)
    return {
        "rows": committed.rows,
        "emptied": 0 if committed.rows else committed.quarantined,
        "quarantined_share": committed.quarantined / committed.rows_in if committed.rows_in else 0,
        "rows_unexplained": _unexplained(subject),
        "rows_missing": abs(committed.rows - subject.rows.count),
        "rows_unread": _unread(subject),
        "files_torn": torn,
        "order_breaks": None if torn else _order_breaks(subject),
        "files_off_schema": sum(schema is not None and not _conforms(schema, subject) for schema in schemas),
        "lineage_gaps": sum(name not in committed.inputs for name in subject.suite.inputs) + (not subject.config),
        "inputs_stale": _stale(subject),
    }


def unreadable_images(subject: Subject, wanted: int) -> float:
    """Read `wanted` images spread over the key from their shards; count those that do not match their row."""
    columns = ["uid", "status", "shard", "offset", "length", "width", "height"]
    picked = _spread(subject, wanted, columns).filter(pc.field("status") == "ok")
    return sum(not _readable(subject, row) for row in picked.to_pylist())


def _unexplained(subject: Subject) -> float:
    committed = subject.committed
    return abs(committed.rows_in - committed.rows - sum(committed.dropped.values()) - committed.quarantined)


def _unread(subject: Subject) -> float | None:
    # Of several inputs, a step maps over one and looks rows up in the others: only that one is read completely.
    counts = [found.count for name, found in subject.inputs.items() if name in TABLES]
    if not counts or subject.lake.preview or not subject.suite.one_each:
        return None
    return min(abs(count - subject.committed.rows_in) for count in counts)


def _order_breaks(subject: Subject) -> float:
    breaks, last = 0, ""
    wrong = pc.less_equal if subject.suite.one_each else pc.less
    for table in subject.rows.batches(["uid"]):
        uid = pa.concat_arrays([pa.array([last], pa.string()), *table["uid"].chunks])
        breaks += pc.sum(pc.fill_null(wrong(uid[1:], uid[:-1]), True)).as_py() or 0
        last = uid[-1].as_py() or last
    return breaks


def _schemas(subject: Subject) -> list[pa.Schema | None]:
    def schema(file: DataFile) -> pa.Schema | None:
        try:
            with subject.lake.storage.arrow.open_input_file(file.path) as source:
                return pq.read_schema(source)
        except (OSError, pa.ArrowInvalid):
            return None

    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(schema, subject.rows.files))


def _conforms(schema: pa.Schema, subject: Subject) -> bool:
    wanted = TABLES[subject.spec.table].arrow
    older = all(field.nullable for field in wanted if field.name not in schema.names)
    known = all(name in wanted.names and schema.field(name).type == wanted.field(name).type for name in schema.names)
    return older and known


def _stale(subject: Subject) -> float:
    lake, committed = subject.lake, subject.committed
    now = {name: lake.committed(name, subject.key) for name in committed.inputs if name in TABLES}
    return sum(one is not None and one.identity != committed.inputs[name] for name, one in now.items())


def _spread(subject: Subject, wanted: int, columns: Sequence[str]) -> pa.Table:
    rows = subject.rows
    at = sorted({rows.count * i // max(wanted, 1) for i in range(wanted)})
    empty = rows.read(0, 0, columns)
    return pa.concat_tables([empty, *(rows.read(i, i + 1, columns) for i in at if i < rows.count)])


def _readable(subject: Subject, row: dict[str, object]) -> bool:
    from kale_tasks.imaging import open_image

    span = Span(str(row["shard"]), int(str(row["offset"])), int(str(row["length"])))
    try:
        data = read_image(subject.lake, *span)
    except (BadData, OSError):
        return False
    try:
        with open_image(data) as image:
            image.load()
            return image.size == (row["width"], row["height"])
    except Exception:  # decoders may raise anything
        return False
