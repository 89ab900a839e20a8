"""The forms in which captions are released: each is one function from rows to rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from kale_tasks.lake.schemas import TABLES
from kale_tasks.release.pictures import Pictures, extension
from kale_tasks.text.sentences import sentences

COLUMNS = (
    "uid", "url", "sha256", "alt_text", "dense_caption", "caption", "stage", "recipe", "models", "prompt_hash", "flags",
    "key",
)  # fmt: skip
WITH_IMAGES = {"images", "webdataset"}
_NAMES = ["uid", "url", "sha256", "key", "stage"]
_STRINGS = pa.list_(pa.field("element", pa.string()))
_MESSAGES = pa.list_(pa.field("element", pa.struct([("role", pa.string()), ("content", pa.string())])))
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@dataclass(frozen=True)
class Format:
    """A form: where its files stand, the columns they have, and how they are made from captions."""

    name: str
    folder: str
    schema: pa.Schema
    convert: Callable[[pa.Table, Pictures], pa.Table]
    rows_at_once: int = 10_000
    suffix: str = ".parquet"


def _captions(rows: pa.Table, pictures: Pictures) -> pa.Table:
    return rows


def _mix(rows: pa.Table, pictures: Pictures) -> pa.Table:
    kinds = {"alt": "alt_text", "dense": "dense_caption", "fused": "caption"}
    pieces = [
        rows.select(_NAMES)
        .append_column("kind", pa.repeat(pa.scalar(kind), rows.num_rows))
        .append_column("text", rows[column])
        .filter(pc.greater(pc.binary_length(rows[column]), 0))
        for kind, column in kinds.items()
    ]
    return pa.concat_tables(pieces).sort_by([("uid", "ascending"), ("kind", "ascending")])


def _sentences(rows: pa.Table, pictures: Pictures) -> pa.Table:
    found = [[sentence.strip() for sentence in sentences(text or "")] for text in rows["caption"].to_pylist()]
    return rows.select(_NAMES).append_column("sentences", pa.array(found, _STRINGS))


def _chat(rows: pa.Table, pictures: Pictures) -> pa.Table:
    question = _prompt("chat")
    messages = [
        [{"role": "user", "content": question}, {"role": "assistant", "content": caption}]
        for caption in rows["caption"].to_pylist()
    ]
    return rows.select(_NAMES).append_column("messages", pa.array(messages, _MESSAGES))


def _images(rows: pa.Table, pictures: Pictures) -> pa.Table:
    found = pictures.of(rows["uid"])
    names = {uid: f"{uid}.{extension(data)}" for uid, data in found.items()}
    column = [{"bytes": found[u], "path": names[u]} if u in found else None for u in rows["uid"].to_pylist()]
    return rows.append_column("image", pa.array(column, _IMAGE))


@cache
def _prompt(name: str) -> str:
    return str(yaml.safe_load((Path(__file__).parent / "templates" / "prompts.yaml").read_text("utf-8"))[name])


def _schema(names: list[str], **more: pa.DataType) -> pa.Schema:
    captions = TABLES["captions"].arrow
    return pa.schema([pa.field(n, captions.field(n).type) for n in names] + [pa.field(n, t) for n, t in more.items()])


_BASE = _schema(list(COLUMNS))
FORMATS: Mapping[str, Format] = {
    form.name: form
    for form in (
        Format("captions", "data", _BASE, _captions),
        Format("mix", "mix", _schema(_NAMES, kind=pa.string(), text=pa.string()), _mix),
        Format("sentences", "sentences", _schema(_NAMES, sentences=_STRINGS), _sentences),
        Format("chat", "chat", _schema(_NAMES, messages=_MESSAGES), _chat),
        Format("images", "images", _schema(list(COLUMNS), image=_IMAGE), _images, rows_at_once=500),
        Format(
            "webdataset", "webdataset", _schema(list(COLUMNS), image=_IMAGE), _images, rows_at_once=500, suffix=".tar"
        ),
    )
}
_MEANINGS = {
    "kind": "alt: the alt-text, dense: the dense caption, fused: the finished caption.",
    "text": "That text.",
    "sentences": "The caption, cut into sentences.",
    "messages": "A conversation that asks for the caption and gives it.",
    "image": "The stored image.",
}


def schema_of(config: str) -> pa.Schema:
    """The columns of a config of the dataset."""
    return FORMATS["captions" if config in ("core", "full") else config].schema


def meaning(column: str) -> str:
    """What a released column holds."""
    return _MEANINGS.get(column) or next(c.meaning for c in TABLES["captions"].columns if c.name == column)
