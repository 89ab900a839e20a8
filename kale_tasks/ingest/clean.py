"""One landing row after the other: repaired, judged by the rules that look at words, hashed for deduplication."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from kale_tasks.config.ingest import Ingest
from kale_tasks.ingest.hashes import hash64, normal_url
from kale_tasks.ingest.language import language
from kale_tasks.ingest.landing import LandingFile
from kale_tasks.ingest.lists import Known
from kale_tasks.ingest.near import signatures
from kale_tasks.ingest.rules import Privacy, Row, rules_of
from kale_tasks.ingest.text import fold, repair
from kale_tasks.lake.schemas import TABLES

_LONG, _INT = pa.int64(), pa.int32()
# A cleaned row: what `pairs` will hold, and what the queries decide on.
CLEAN = pa.schema(
    [
        *(field.with_nullable(True) for field in TABLES["pairs"].arrow if field.name != "dup_count"),
        *(pa.field(name, _LONG) for name in ("id", "uid_hash", "url_hash", "picture_hash", "text_hash")),
        *(pa.field(name, _LONG) for name in ("sketch_a", "sketch_b")),
        pa.field("bands", pa.list_(_LONG)),
        *(pa.field(name, _INT) for name in ("part", "words", "chars")),
        pa.field("repetition", pa.float64()),
        *(pa.field(name, pa.string()) for name in ("finding", "fault", "detail")),
    ]
)
# The part of it that decides, and the part by which near texts are found: what queries read.
FACTS = pa.schema([CLEAN.field(name) for name in (
    "id", "part", "uid_hash", "url_hash", "picture_hash", "text_hash", "words", "chars", "repetition", "width", "height",
    "clip_b32", "clip_l14", "finding", "fault",
)])  # fmt: skip
SKETCHES = pa.schema([CLEAN.field(name) for name in ("id", "bands", "sketch_a", "sketch_b")])
_UID = re.compile(r"[0-9a-f]{32}")
_ROW_BITS = 36  # a row's id is the number of its file, then its number in the file
_CARRIED = ("width", "height", "clip_b32", "clip_l14", "face_boxes")


@dataclass(frozen=True)
class Cleaner:
    """Cleans batches of landing rows; can be sent to another process."""

    settings: Ingest
    known: Known
    key: str
    parts: int

    def clean(self, file: LandingFile, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The same rows, cleaned; none is left out."""
        texts = ("uid", "url", "alt_text", "sha256", "fault", "detail", "row")
        rows = [self._row(file, *values) for values in zip(*(batch[name].to_pylist() for name in texts), strict=True)]
        columns = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
        columns |= {name: batch[name] for name in _CARRIED}
        columns |= self._signatures(columns.pop("folded", []))
        return pa.RecordBatch.from_pydict({f.name: columns.get(f.name, pa.nulls(len(rows), f.type)) for f in CLEAN}, CLEAN)

    def _row(
        self, file: LandingFile, uid: bytes | None, url: bytes | None, alt: bytes | None, sha: bytes | None,
        fault: str | None, detail: str | None, number: int,
    ) -> dict[str, Any]:  # fmt: skip
        try:
            alt_text, address, claimed = (alt or b"").decode(), (url or b"").decode(), (sha or b"").decode().strip().lower()
        except UnicodeDecodeError:
            fault, detail = fault or "not_utf8", f"{file.name}: row {number}"
            alt_text = address = claimed = ""
        name = (uid or b"").decode("ascii", "replace").lower()
        if not _UID.fullmatch(name):
            told = f"{file.name}\0{number}" if fault else f"{address}\0{alt_text}"
            name = hashlib.sha256(told.encode()).hexdigest()[:32]
        text = repair(alt_text)
        folded = fold(text)
        normal = normal_url(address) if address else None
        lang = language(text, self.settings.rules.language_confidence) if text else None
        row = Row(name, *(normal or ("", "")), claimed, text, folded, lang or "")
        words = folded.split()
        shown = self._privacy.mask(text) if self.settings.rules.pii == "mask" else text
        return {
            "id": (file.number << _ROW_BITS) | number,
            "uid": name,
            "key": self.key,
            "url": address or None,
            "alt_text": alt_text,
            "text": shown,
            "source": file.name,
            "sha256": claimed or None,
            "lang": lang,
            "split": self._split(name),
            "flags": ["pii"] if shown != text else [],
            "part": int(name[:8], 16) * self.parts >> 32,
            "uid_hash": hash64(name.encode()),
            "url_hash": hash64(normal[1].encode()) if normal else None,
            "picture_hash": hash64(claimed.encode()) if claimed else None,
            "text_hash": hash64(folded.encode()),
            "words": len(text.split()),
            "chars": len(text),
            "repetition": 1 - len(set(words)) / len(words) if words else 0.0,
            "finding": next((rule for rule, drops in self._rules.items() if drops(row)), None),
            "fault": fault,
            "detail": detail,
            "folded": folded,
        }

    def _signatures(self, folded: Sequence[str]) -> dict[str, Any]:
        if not self.settings.dedup.near or not folded:
            return {}
        bands, sketch = signatures(folded, self.settings.dedup)
        offsets = pa.array(range(0, bands.size + 1, bands.shape[1]), pa.int32())
        return {
            "bands": pa.ListArray.from_arrays(offsets, pa.array(bands.ravel())),
            "sketch_a": pa.array(sketch[:, 0].copy()),
            "sketch_b": pa.array(sketch[:, 1].copy()),
        }

    def _split(self, uid: str) -> str:
        place = (hash64(f"split {uid}".encode()) + 2**63) / 2**64
        if place < self.settings.split.holdout:
            return "holdout"
        return "stage1" if place < self.settings.split.holdout + self.settings.split.stage1 else "stage2"

    @cached_property
    def _rules(self) -> Any:
        return rules_of(self.settings, self.known)

    @cached_property
    def _privacy(self) -> Privacy:
        return Privacy(self.known.patterns["pii"])
