"""What the commit and the files say of a key, before any text is looked at: nothing lost, nothing foreign, nothing torn."""

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kale_tasks.errors import BadData
from kale_tasks.lake.lake import DataFile
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.shards import Span, read_image
from kale_tasks.quality.subject import Limit, Subject

LIMITS = [
    Limit("rows", "critical", "The key has rows", low=1),
    Limit("rows_unexplained", "critical", "Every row that came in was kept, dropped by a rule or quarantined", 0, 0),
    Limit("rows_missing", "critical", "The files hold as many rows as the commit says", 0, 0),
    Limit("rows_unread", "critical", "Every row of an input was read", 0, 0),
    Limit("order_breaks", "critical", "Rows are in uid order, each uid once, across all files", 0, 0),
    Limit("files_off_schema", "critical", "Every file has the table's columns and types", 0, 0),
    Limit("lineage_gaps", "critical", "The commit names its inputs and its settings", 0, 0),
    Limit("inputs_stale", "warning", "The inputs are still those that it was made from", 0, 0),
]


def account(subject: Subject) -> dict[str, float | None]:
    """The figures bounded by `LIMITS`."""
    committed, rows = subject.committed, subject.rows
    return {
        "rows": committed.rows,
        "rows_unexplained": _unexplained(subject),
        "rows_missing": abs(committed.rows - rows.count),
        "rows_unread": _unread(subject),
        "order_breaks": _order_breaks(subject),
        "files_off_schema": _off_schema(subject),
        "lineage_gaps": sum(name not in committed.inputs for name in subject.suite.inputs) + (not committed.config),
        "inputs_stale": _stale(subject),
    }


def unreadable_members(subject: Subject, wanted: int) -> float:
    """How many of some images, spread over the key, are not what their row says."""
    columns = ["uid", "status", "shard", "offset", "length", "width", "height"]
    picked = _spread(subject, wanted, columns).filter(pc.field("status") == "ok")
    return sum(not _readable(subject, row) for row in picked.to_pylist())


def _unexplained(subject: Subject) -> float:
    committed = subject.committed
    return abs(committed.rows_in - committed.rows - sum(committed.dropped.values()) - committed.quarantined)


def _unread(subject: Subject) -> float | None:
    # A step may look one input up by the rows of another: the one that it maps over must have been read whole.
    lake, committed = subject.lake, subject.committed
    found = [lake.committed(name, subject.key) for name in committed.inputs if name in TABLES]
    counts = [one.rows for one in found if one]
    if not counts or subject.settings.limit:
        return None
    return min(abs(committed.rows_in - count) for count in counts)


def _order_breaks(subject: Subject) -> float:
    breaks, last = 0, ""
    for table in subject.rows.batches(["uid"]):
        uid = pa.concat_arrays([pa.array([last], pa.string()), *table["uid"].chunks])
        breaks += pc.sum(pc.fill_null(pc.less_equal(uid[1:], uid[:-1]), True)).as_py() or 0
        last = uid[-1].as_py() or last
    return breaks


def _off_schema(subject: Subject) -> float:
    wanted = TABLES[subject.suite.table].arrow
    return sum(not _conforms(subject, file.path, wanted) for file in _sampled(subject.rows.files))


def _conforms(subject: Subject, path: str, wanted: pa.Schema) -> bool:
    with subject.lake.storage.arrow.open_input_file(path) as source:
        schema = pq.read_schema(source)
    return all(
        (field.name in schema.names and schema.field(field.name).type == field.type)
        or (field.name not in schema.names and field.nullable)  # a file of an older version
        for field in wanted
    ) and not set(schema.names) - set(wanted.names)


def _stale(subject: Subject) -> float:
    lake, committed = subject.lake, subject.committed
    now = {name: lake.committed(name, subject.key) for name in committed.inputs if name in TABLES}
    return sum(one is not None and one.content != committed.inputs[name] for name, one in now.items())


def _spread(subject: Subject, wanted: int, columns: Sequence[str]) -> pa.Table:
    rows = subject.rows
    at = sorted({rows.count * i // max(wanted, 1) for i in range(wanted)})
    empty = rows.read(0, 0, columns)
    return pa.concat_tables([empty, *(rows.read(i, i + 1, columns) for i in at if i < rows.count)])


def _readable(subject: Subject, row: dict[str, object]) -> bool:
    from PIL import Image

    span = Span(str(row["shard"]), int(str(row["offset"])), int(str(row["length"])))
    try:
        data = read_image(subject.lake, *span)
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return image.size == (row["width"], row["height"])
    except (BadData, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def _sampled(files: Sequence[DataFile], most: int = 64) -> Sequence[DataFile]:
    return files if len(files) <= most else files[:: -(-len(files) // most)]
