"""Metadata rows and the file formats in which datasets publish them. A new format is one entry in FORMATS."""

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


@dataclass(frozen=True)
class Row:
    """One image-text pair under DataComp's column names."""

    uid: str
    url: str
    text: str
    original_width: int
    original_height: int
    clip_b32_similarity_score: float
    clip_l14_similarity_score: float
    face_bboxes: list[list[float]]
    sha256: str


Write = Callable[[Sequence[Row]], object]
Open = Callable[[Path], AbstractContextManager[Write]]  # opens a file at a path without suffix for writing rows
_TEXT, _COUNT, _SCORE = pa.string(), pa.int64(), pa.float32()
_DATACOMP = pa.schema(
    {
        "uid": _TEXT,
        "url": _TEXT,
        "text": _TEXT,
        "original_width": _COUNT,
        "original_height": _COUNT,
        "clip_b32_similarity_score": _SCORE,
        "clip_l14_similarity_score": _SCORE,
        "face_bboxes": pa.list_(pa.list_(pa.float64())),
        "sha256": _TEXT,
    }
)
_LAION = pa.schema(
    {"URL": _TEXT, "TEXT": _TEXT, "WIDTH": _COUNT, "HEIGHT": _COUNT, "similarity": _SCORE, "hash": _COUNT}
)


def _laion_record(row: Row) -> dict[str, Any]:
    """Return a row under LAION's column names, which include neither uid nor sha256."""
    digest = hashlib.md5(f"{row.url}{row.text}".encode(), usedforsecurity=False).digest()
    return {
        "URL": row.url,
        "TEXT": row.text,
        "WIDTH": row.original_width,
        "HEIGHT": row.original_height,
        "similarity": row.clip_b32_similarity_score,
        "hash": int.from_bytes(digest[:8], signed=True),
    }


def _parquet(schema: pa.Schema, record: Callable[[Row], dict[str, Any]]) -> Open:
    @contextmanager
    def opened(stem: Path) -> Iterator[Write]:
        with pq.ParquetWriter(f"{stem}.parquet", schema) as file:
            yield lambda rows: file.write_table(pa.Table.from_pylist([record(row) for row in rows], schema))

    return opened


@contextmanager
def _json_lines(stem: Path) -> Iterator[Write]:
    with Path(f"{stem}.jsonl").open("w", encoding="utf-8") as file:
        yield lambda rows: file.writelines(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows)


@contextmanager
def _csv(stem: Path) -> Iterator[Write]:
    with Path(f"{stem}.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Row)])
        table.writeheader()
        yield lambda rows: table.writerows(asdict(row) | {"face_bboxes": json.dumps(row.face_bboxes)} for row in rows)


FORMATS: dict[str, Open] = {
    "datacomp": _parquet(_DATACOMP, asdict),
    "laion": _parquet(_LAION, _laion_record),
    "jsonl": _json_lines,
    "csv": _csv,
}
