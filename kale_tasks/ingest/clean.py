"""One landing row after the other: repaired, judged by the rules that look at words, hashed for deduplication."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kale_tasks.ingest import minhash as near
from kale_tasks.ingest.blocklists import Known
from kale_tasks.ingest.hashes import hash64
from kale_tasks.ingest.pieces import DataFile
from kale_tasks.ingest.rules import Privacy, Row, Rule, rules_of
from kale_tasks.ingest.text import fold, repair
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.tombstones import TAKEDOWN, Matcher
from kale_tasks.settings.ingest import Ingest
from kale_tasks.text.language import UNSURE, WEB_LANGUAGES, detect_language
from kale_tasks.urls import normal_url

_LONG, _INT, _TEXT, _DOUBLE = pa.int64(), pa.int32(), pa.string(), pa.float64()
# What queries decide on, and the two ways in which near rows are found.
FACTS = pa.schema(
    {name: _LONG for name in ("id", "uid_hash", "url_hash", "picture_hash", "text_hash")}
    | {name: _INT for name in ("part", "words", "chars", "width", "height")}
    | {name: _DOUBLE for name in ("repetition", "clip_b32", "clip_l14")}
    | {name: _TEXT for name in ("finding", "fault")}
)
SKETCHES = {
    kind: pa.schema({"id": _LONG, f"{kind}_bands": pa.list_(_LONG), f"{kind}_a": _LONG, f"{kind}_b": _LONG})
    for kind in ("text", "meaning")
}
_PAIRS = [field.with_nullable(True) for field in TABLES["pairs"].arrow if field.name != "dup_count"]
# All of a cleaned row: what `pairs` will hold, and the above.
CLEAN = pa.unify_schemas([pa.schema([*_PAIRS, pa.field("detail", _TEXT)]), FACTS, *SKETCHES.values()])
_UID = re.compile(r"[0-9a-f]{32}")
_ROW_BITS = 36  # a row's id is the number of its file, then its number in the file
_TEXTS = ["row", "uid", "url", "alt_text", "sha256", "fault", "detail"]
_CARRIED = ("width", "height", "clip_b32", "clip_l14", "face_boxes")


@dataclass(frozen=True)
class Cleaner:
    """Cleans batches of landing rows; can be sent to another process."""

    settings: Ingest
    known: Known
    law: Matcher
    key: str
    parts: int

    def clean(self, file: DataFile, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The same rows, cleaned; none is left out."""
        rows = [self._row(file, raw) for raw in batch.select(_TEXTS).to_pylist()]
        columns: dict[str, Any] = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
        columns |= {name: batch[name] for name in _CARRIED}
        columns |= self._sketches(columns.pop("folded", []), batch["embedding"])
        return self._obeying(
            pa.RecordBatch.from_pydict({f.name: columns.get(f.name, pa.nulls(len(rows), f.type)) for f in CLEAN}, CLEAN)
        )

    def _obeying(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """What is taken down goes, whatever else is found about it."""
        gone = self.law.matches(pa.Table.from_batches([rows])).combine_chunks()
        place = CLEAN.get_field_index("finding")
        return rows.set_column(place, CLEAN.field(place), pc.if_else(gone, TAKEDOWN, rows["finding"]))

    def _row(self, file: DataFile, raw: Mapping[str, Any]) -> dict[str, Any]:
        fault, place = raw["fault"], f"{file.name}: row {raw['row']}"
        try:
            alt_text, url, sha256 = ((raw[name] or b"").decode() for name in ("alt_text", "url", "sha256"))
        except UnicodeDecodeError:
            fault = "not_utf8"
            alt_text = url = sha256 = ""
        # A row that cannot be read has no better name than its place.
        uid = _uid(raw["uid"], place if fault else f"{url}\0{alt_text}")
        return {
            "id": (file.number << _ROW_BITS) | raw["row"],
            "uid": uid,
            "key": self.key,
            "url": url or None,
            "alt_text": alt_text,
            "source": file.name,
            "sha256": sha256 or None,
            "split": self._split(uid),
            "part": int(uid[:8], 16) * self.parts >> 32,
            "uid_hash": hash64(uid.encode()),
            "fault": fault,
            "detail": (raw["detail"] or place) if fault else None,
            **self._judged(uid, url, sha256.strip().lower(), repair(alt_text)),
        }

    def _judged(self, uid: str, url: str, sha256: str, text: str) -> dict[str, Any]:
        normal = normal_url(url)
        folded = fold(text)
        words = folded.split()
        lang = self._language(text) if text else ""
        row = Row(uid, *(normal or ("", "")), sha256, text, folded, lang)
        shown = self._privacy.mask(text) if self.settings.rules.pii == "mask" else text
        return {
            "text": shown,
            "lang": lang or None,
            "flags": ["pii"] if shown != text else [],
            "url_hash": hash64(normal[1].encode()) if normal else None,
            "picture_hash": hash64(sha256.encode()) if sha256 else None,
            "text_hash": hash64(folded.encode()),
            "words": len(text.split()),
            "chars": len(text),
            "repetition": 1 - len(set(words)) / len(words) if words else 0.0,
            "finding": next((name for name, drops in self._rules.items() if drops(row)), None),
            "folded": folded,
        }

    def _language(self, text: str) -> str:
        language, probability = detect_language(text, WEB_LANGUAGES)
        return language if probability >= self.settings.rules.language_confidence else UNSURE

    def _sketches(self, folded: list[str], embeddings: pa.Array) -> dict[str, Any]:
        dedup, found = self.settings.dedup, dict[str, Any]()
        if dedup.near and folded:
            found |= _columns("text", *near.text_sketches(folded, dedup), np.ones(len(folded), bool))
        if dedup.embedding_similarity is not None and (given := near.embedding_sketches(embeddings)):
            found |= _columns("meaning", *given)
        return found

    def _split(self, uid: str) -> str:
        place = (hash64(f"split {uid}".encode()) + 2**63) / 2**64
        if place < self.settings.split.holdout:
            return "holdout"
        return "stage1" if place < self.settings.split.holdout + self.settings.split.stage1 else "stage2"

    @cached_property
    def _rules(self) -> Mapping[str, Rule]:
        return rules_of(self.settings, self.known)

    @cached_property
    def _privacy(self) -> Privacy:
        return Privacy(self.known.patterns["pii"])


def _uid(given: bytes | None, told: str) -> str:
    name = (given or b"").decode("ascii", "replace").lower()
    return name if _UID.fullmatch(name) else hashlib.sha256(told.encode()).hexdigest()[:32]


def _columns(kind: str, bands: near.Longs, sketch: near.Longs, known: near.Flags) -> dict[str, pa.Array]:
    unknown = pa.array(~known)
    offsets = pa.array(range(0, bands.size + 1, bands.shape[1]), pa.int32())
    lists = pa.ListArray.from_arrays(offsets, pa.array(bands.ravel()), mask=unknown)
    return {f"{kind}_bands": lists} | {
        f"{kind}_{half}": pa.array(sketch[:, i], mask=~known) for i, half in enumerate("ab")
    }
