"""Cleans landing rows one by one: repairs texts, applies the row rules, computes the hashes for deduplication."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kale_tasks.errors import BadData
from kale_tasks.ingest import minhash
from kale_tasks.ingest.blocklists import Blocklists
from kale_tasks.ingest.facts import facts_of
from kale_tasks.ingest.normalize import fold, hash64, repair
from kale_tasks.ingest.pieces import DataFile
from kale_tasks.ingest.rules import PairRow, PersonalData, Rule
from kale_tasks.lake.hashing import short_sha256
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.tombstones import TAKEDOWN, Matcher
from kale_tasks.settings.ingest import Ingest
from kale_tasks.text.language import UNSURE, WEB_LANGUAGES, detect_language
from kale_tasks.urls import normal_url

_LONG, _INT, _TEXT, _DOUBLE = pa.int64(), pa.int32(), pa.string(), pa.float64()
# The columns on which the queries decide.
FACTS = pa.schema(
    {name: _LONG for name in ("id", "uid_hash", "url_hash", "picture_hash", "text_hash")}
    | {name: _INT for name in ("part", "words", "chars", "width", "height")}
    | {name: _DOUBLE for name in ("repetition", "clip_b32", "clip_l14")}
    | {name: _TEXT for name in ("row_rule", "reason")}
)
# The columns by which near duplicates are found, for each kind of near match.
SKETCHES = {
    kind: pa.schema({"id": _LONG, f"{kind}_bands": pa.list_(_LONG), f"{kind}_a": _LONG, f"{kind}_b": _LONG})
    for kind in ("text", "meaning")
}
_PAIRS = [field.with_nullable(True) for field in TABLES["pairs"].arrow if field.name != "dup_count"]
# A cleaned row: the columns of `pairs`, and the ones above.
CLEAN = pa.unify_schemas([pa.schema([*_PAIRS, pa.field("detail", _TEXT)]), FACTS, *SKETCHES.values()])
_UID = re.compile(r"[0-9a-f]{32}")
_ROW_BITS = 36  # the lower bits of a row's id are its number in the file, the upper ones the number of the file
_READ = ["row", "uid", "url", "alt_text", "sha256", "reason", "detail"]
_COPIED = ("width", "height", "clip_b32", "clip_l14", "face_boxes")


@dataclass(frozen=True)
class RowCleaner:
    """Cleans batches of landing rows. Can be pickled."""

    settings: Ingest
    lists: Blocklists
    rules: Mapping[str, partial[Rule]]
    takedowns: Matcher
    key: str
    parts: int

    def clean(self, file: DataFile, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows of a batch in the schema CLEAN. None is left out; `row_rule` names the rule that drops it."""
        rows = [self._row(file, raw) for raw in batch.select(_READ).to_pylist()]
        columns: dict[str, Any] = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
        columns |= {name: batch[name] for name in _COPIED}
        columns |= self._sketches(columns.pop("folded", []), batch["embedding"])
        return self._apply_takedowns(
            pa.RecordBatch.from_pydict({f.name: columns.get(f.name, pa.nulls(len(rows), f.type)) for f in CLEAN}, CLEAN)
        )

    def _apply_takedowns(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Set the takedown rule where a takedown matches, in place of any other rule."""
        matched = self.takedowns.matches(pa.Table.from_batches([rows])).combine_chunks()
        place = CLEAN.get_field_index("row_rule")
        return rows.set_column(place, CLEAN.field(place), pc.if_else(matched, TAKEDOWN, rows["row_rule"]))

    def _row(self, file: DataFile, raw: Mapping[str, Any]) -> dict[str, Any]:
        reason, place = raw["reason"], f"{file.name}: row {raw['row']}"
        try:
            alt_text, url = ((raw[name] or b"").decode() for name in ("alt_text", "url"))
        except UnicodeDecodeError:
            reason = "not_utf8"
            alt_text = url = ""
        sha256 = _digest(raw["sha256"] or b"")
        # The uid of a row that cannot be read comes from its place: nothing else identifies it.
        uid = _uid(raw["uid"], place if reason else f"{url}\0{alt_text}")
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
            "reason": reason,
            "detail": (raw["detail"] or place) if reason else None,
            **self._judged(uid, url, sha256.strip().lower(), repair(alt_text)),
        }

    def _judged(self, uid: str, url: str, sha256: str, text: str) -> dict[str, Any]:
        normal = normal_url(url)
        folded = fold(text)
        words = folded.split()
        lang = self._language(text) if text else ""
        rule = self._dropping_rule(PairRow(uid, *normal, sha256, text, folded, lang)) if normal and text else None
        masked = self._personal_data.mask(text) if self.settings.rules.pii == "mask" else text
        return {
            "text": masked,
            "lang": lang or None,
            "flags": ["pii"] if masked != text else [],
            "url_hash": hash64(normal[1].encode()) if normal else None,
            "picture_hash": hash64(sha256.encode()) if sha256 else None,
            "text_hash": hash64(self._compared(text, folded, normal[0] if normal else "").encode()),
            "words": len(text.split()),
            "chars": len(text),
            "repetition": 1 - len(set(words)) / len(words) if words else 0.0,
            "row_rule": rule,
            "folded": folded,
        }

    def _compared(self, text: str, folded: str, host: str) -> str:
        dedup = self.settings.dedup
        return facts_of(text, host, strict=dedup.policy == "strict") if dedup.near and dedup.policy != "off" else folded

    def _dropping_rule(self, row: PairRow) -> str | None:
        for name, drops in self._made_rules.items():
            try:
                if drops(row):
                    return name
            except Exception as error:  # whatever the rule of another package raises; the text itself is not shown
                raise BadData(
                    f"The rule '{name}' raised {type(error).__name__} for the row with the uid {row.uid}. Correct the "
                    f"rule, or remove it from ingest.rules.extra."
                ) from error
        return None

    def _language(self, text: str) -> str:
        language, probability = detect_language(text, WEB_LANGUAGES)
        return language if probability >= self.settings.rules.language_confidence else UNSURE

    def _sketches(self, folded: list[str], embeddings: pa.Array) -> dict[str, Any]:
        dedup, found = self.settings.dedup, dict[str, Any]()
        if dedup.near and dedup.policy == "off" and folded:
            found |= _columns("text", *minhash.text_sketches(folded, dedup), np.ones(len(folded), bool))
        if dedup.embedding_similarity is not None and (sketches := minhash.embedding_sketches(embeddings)):
            found |= _columns("meaning", *sketches)
        return found

    def _split(self, uid: str) -> str:
        share = (hash64(f"split {uid}".encode()) + 2**63) / 2**64
        if share < self.settings.split.holdout:
            return "holdout"
        return "stage1" if share < self.settings.split.holdout + self.settings.split.stage1 else "stage2"

    @cached_property
    def _made_rules(self) -> Mapping[str, Rule]:
        return {name: make() for name, make in self.rules.items()}

    @cached_property
    def _personal_data(self) -> PersonalData:
        return PersonalData(self.lists.patterns["pii"])


def _digest(landed: bytes) -> str:
    """Return a claimed SHA-256 as hex digits, also if the source gives its 32 bytes; empty if it is no text."""
    return landed.hex() if len(landed) == 32 else landed.decode(errors="ignore")


def _uid(landed: bytes | None, identity: str) -> str:
    uid = (landed or b"").decode("ascii", "replace").lower()
    return uid if _UID.fullmatch(uid) else short_sha256(identity, 32)


def _columns(kind: str, bands: minhash.Longs, sketch: minhash.Longs, known: minhash.Flags) -> dict[str, pa.Array]:
    unknown = pa.array(~known)
    offsets = pa.array(range(0, bands.size + 1, bands.shape[1]), pa.int32())
    lists = pa.ListArray.from_arrays(offsets, pa.array(bands.ravel()), mask=unknown)
    return {f"{kind}_bands": lists} | {
        f"{kind}_{half}": pa.array(sketch[:, i], mask=~known) for i, half in enumerate("ab")
    }
