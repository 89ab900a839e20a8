"""Helpers that write landing files and ingest them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kale_tasks.ingest.step import Ingest
from kale_tasks.lake.preview import open_lake
from kale_tasks.lake.tables import Committed
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import Settings, load

KEY = "2026-11-01"
Record = dict[str, Any]


def pair(number: int, text: str | None = None, **more: Any) -> Record:
    """Make a landing row that no rule drops. Texts of different numbers have little in common."""
    one, two, three = ("".join(Random(f"{number} {n}").choices("bdegilnorstu", k=9)).title() for n in range(3))
    own = f"The castle of {one} and the {two} bridge near {three}"
    return {"url": f"https://pictures.example/{number}.jpg", "text": own if text is None else text, **more}


def land(folder: Path, rows: Iterable[Mapping[str, Any]], key: str = KEY, name: str = "00000") -> Path:
    """Write rows as a Parquet file of a key."""
    path = folder / key / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    known = list(rows)
    names = dict.fromkeys(name for row in known for name in row)
    pq.write_table(pa.table({name: [row.get(name) for row in known] for name in names}), path)
    return path


def land_lines(folder: Path, rows: Iterable[Mapping[str, Any]], key: str = KEY, name: str = "00000") -> Path:
    """Write rows as a JSONL file of a key."""
    path = folder / key / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def settings_for(folder: Path, *sets: str) -> Settings:
    """Load settings for a lake and a landing area in a folder."""
    own = [
        f"landing={folder / 'landing'}",
        f"warehouse={folder / 'lake'}",
        "ingest.workers=1",
        "ingest.part_rows=50",
        "ingest.lists.evaluation=null",
    ]
    return load([*own, *sets], environ={}).settings


def ingest(settings: Settings, *keys: str) -> list[Committed]:
    """Run the step on keys, one after the other."""
    lake = open_lake(settings, create=True)
    lake.identify()
    return [execute(Run(Ingest(), lake, settings, key)) for key in keys or (KEY,)]


def kept(settings: Settings, key: str = KEY) -> list[Record]:
    """Return the rows of `pairs` of a key."""
    return open_lake(settings).arrow("pairs", key).to_pylist()


def texts(settings: Settings, key: str = KEY) -> list[str]:
    """Return the alt-texts of a key that were kept."""
    return sorted(row["alt_text"] for row in kept(settings, key))


def balanced(committed: Committed) -> bool:
    """Return whether every input row was kept, dropped or quarantined."""
    return committed.rows_in == committed.rows + sum(committed.dropped.values()) + committed.quarantined


def numbers(rows: Sequence[Record]) -> list[int]:
    """Return the numbers of rows made by `pair`."""
    return sorted(int(row["url"].rpartition("/")[2].removesuffix(".jpg")) for row in rows)
