"""Picks captions to show beside their images: some at random, some from the extremes."""

import base64
import io
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Lake
from kale_tasks.quality.features import words
from kale_tasks.quality.pictures import COLUMNS, picture
from kale_tasks.resources import sql
from kale_tasks.settings.model import Settings
from kale_tasks.text.origins import Piece, pieces

_SIDE = 240
_LONGEST = 4000  # characters of a text


@dataclass(frozen=True)
class Sample:
    """A caption and what it was made from; the image is a data URI, empty if it cannot be read."""

    uid: str
    recipe: str
    stage: int
    why: str
    alt_text: str
    dense_caption: str
    caption: str
    facts: str
    flags: tuple[str, ...]
    image: str

    @property
    def pieces(self) -> list[Piece]:
        """The caption, divided by where its facts come from; undivided if it is cut."""
        if len(self.caption) > _LONGEST:
            return [Piece(self.caption)]
        return pieces(self.caption, self.dense_caption, self.alt_text)


def samples(lake: Lake, settings: Settings, images: Snapshot, captions: pa.Table) -> list[Sample]:
    """Pick samples out of captions that were read already; `images` are those of their key."""
    rows = captions.append_column("words", words(captions["caption"]))
    with duckdb.connect() as connection:
        connection.register("samples", rows)
        wanted = {"wanted": settings.quality.samples}
        picked = connection.execute(sql("reports/samples"), wanted).fetchall()
    reasons: dict[tuple[str, str, int], str] = {}
    for uid, recipe, stage, why in picked:
        reasons.setdefault((uid, recipe, stage), why)
    found = rows.filter(pc.is_in(rows["uid"], pa.array([uid for uid, *_ in reasons], pa.string()))).to_pylist()
    by_name = {(row["uid"], row["recipe"], row["stage"]): row for row in found}
    return [_sample(by_name[name], why, _thumbnail(lake, images, name[0])) for name, why in reasons.items()]


def _sample(row: dict[str, Any], why: str, image: str) -> Sample:
    return Sample(
        uid=row["uid"],
        recipe=row["recipe"],
        stage=row["stage"],
        why=why,
        alt_text=_cut(row["alt_text"] or ""),
        dense_caption=_cut(row["dense_caption"] or ""),
        caption=_cut(row["caption"] or ""),
        facts=_facts(row) if row["facts"] else "",
        flags=tuple(row["flags"] or ()),
        image=image,
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\N{HORIZONTAL ELLIPSIS} ({len(text):,} characters)"


def _facts(row: dict[str, Any]) -> str:
    parts = [f"{row['facts_from_alt']} from the alt-text"]
    parts += [f"{row['facts_from_dense']} from the dense caption"] if row["dense_caption"] else []
    parts += [f"{row['facts_invented']} in neither"] if row["facts_invented"] else []
    return f"facts: {', '.join(parts)}"


def _thumbnail(lake: Lake, images: Snapshot, uid: str) -> str:
    for row in images.between(uid, uid, COLUMNS).to_pylist():
        if small := picture(lake, row):
            small.thumbnail((_SIDE, _SIDE))
            out = io.BytesIO()
            small.save(out, "JPEG", quality=82)
            return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"
    return ""
