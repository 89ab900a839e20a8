"""Cleans landing rows one by one: repairs texts, applies the row rules, computes the hashes for deduplication."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kale_tasks.errors import BadData
from kale_tasks.ingest import minhash
from kale_tasks.ingest.blocklists import Blocklists
from kale_tasks.ingest.facts import all_facts
from kale_tasks.ingest.limits import missed_by_image, missed_by_text
from kale_tasks.ingest.normalize import fold, hash64, repair, repair_all
from kale_tasks.ingest.pieces import DataFile
from kale_tasks.ingest.rules import FIRST_RULES, PairRow, PersonalData, Rule
from kale_tasks.lake.hashing import short_sha256
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.tombstones import TAKEDOWN, Matcher
from kale_tasks.settings.ingest import Ingest
from kale_tasks.text.language import languages_of
from kale_tasks.urls import normal_url

_LONG, _INT, _TEXT, _DOUBLE = pa.int64(), pa.int32(), pa.string(), pa.float64()
# The columns on which the queries decide.
FACTS = pa.schema(
    {name: _LONG for name in ("id", "uid_hash", "url_hash", "picture_hash", "text_hash")}
    | {name: _INT for name in ("part", "width", "height")}
    | {name: _DOUBLE for name in ("clip_b32", "clip_l14")}
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
_CONTEXT_BYTES, _CONTEXT_CHARS = 1 << 14, 2000  # most of the text around an image that is read, and that is kept
_READ = ["row", "uid", "url", "alt_text", "sha256", "reason", "detail"]
_COPIED = ("width", "height", "clip_b32", "clip_l14", "face_boxes")


@dataclass(slots=True)
class _Row:
    """A row while it is cleaned. What comes after `rule` is made only of rows that no rule drops."""

    id: int
    uid: str
    part: int
    url: str | None
    alt_text: str
    sha256: str | None
    reason: str | None
    detail: str | None
    text: str = ""
    rule: str | None = None
    folded: str = ""
    lang: str | None = None
    context: str | None = None
    split: str | None = None
    uid_hash: int | None = None
    url_hash: int | None = None
    picture_hash: int | None = None
    text_hash: int | None = None
    flags: Sequence[str] = ()


_MADE = sorted(set(_Row.__slots__) - {"rule", "folded"})


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
        raw = batch.select(_READ).to_pydict()
        rows = [self._row(file, *values) for values in zip(*(raw[name] for name in _READ), strict=True)]
        for row, text in zip(rows, repair_all([row.alt_text for row in rows]), strict=True):
            row.text = text
        pairs = self._undropped(rows, missed_by_image(batch, self.settings.rules).to_pylist())
        self._apply_rules(pairs)
        kept = [pair for pair in pairs if pair[0].rule is None]
        self._finish(kept)
        if batch["context"].null_count < batch.num_rows:
            self._carry_context([row for row, _ in kept], file, batch)
        columns: dict[str, Any] = {name: [getattr(row, name) for row in rows] for name in _MADE}
        columns |= {name: pa.repeat(value, len(rows)) for name, value in (("key", self.key), ("source", file.name))}
        columns |= {"row_rule": [row.rule for row in rows]} | {name: batch[name] for name in _COPIED}
        columns |= self._sketches(rows, batch["embedding"])
        return self._apply_takedowns(
            pa.RecordBatch.from_pydict({f.name: columns.get(f.name, pa.nulls(len(rows), f.type)) for f in CLEAN}, CLEAN)
        )

    def _apply_takedowns(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Set the takedown rule where a takedown matches, in place of any other rule."""
        matched = self.takedowns.matches(pa.Table.from_batches([rows])).combine_chunks()
        place = CLEAN.get_field_index("row_rule")
        return rows.set_column(place, CLEAN.field(place), pc.if_else(matched, TAKEDOWN, rows["row_rule"]))

    def _row(
        self, file: DataFile, row: int, landed: bytes | None, url_: bytes | None, text: bytes | None, *more: Any
    ) -> _Row:
        sha256, reason, detail = _digest(more[0] or b""), *more[1:]
        try:
            alt_text, url = (text or b"").decode(), (url_ or b"").decode()
        except UnicodeDecodeError:
            reason, alt_text, url = "not_utf8", "", ""
        place = f"{file.name}: row {row}" if reason else ""
        # The uid of a row that cannot be read comes from its place: nothing else identifies it.
        uid = _uid(landed, place or f"{url}\0{alt_text}")
        return _Row(
            id=(file.number << _ROW_BITS) | row,
            uid=uid,
            part=int(uid[:8], 16) * self.parts >> 32,
            url=url or None,
            alt_text=alt_text,
            sha256=sha256 or None,
            reason=reason,
            detail=(detail or place) if reason else None,
        )

    def _undropped(self, rows: Sequence[_Row], missed: Sequence[str | None]) -> list[tuple[_Row, PairRow]]:
        """Return the rows with a URL and a text that miss no limit of the image, with what rules see of them."""
        left = list[tuple[_Row, tuple[str, str]]]()
        for row, limit in zip(rows, missed, strict=True):
            normal = normal_url(row.url or "")
            row.rule = "no_url" if normal is None else limit if row.text else "no_text"
            if normal and row.rule is None and row.reason is None:
                row.folded = fold(row.text)
                left.append((row, normal))
        languages = languages_of([row.text for row, _ in left], self.settings.rules.language_confidence)
        pairs = []
        for (row, normal), row.lang in zip(left, languages, strict=True):
            digest = (row.sha256 or "").strip().lower()
            pairs.append((row, PairRow(row.uid, *normal, digest, row.text, row.folded, row.lang)))
        return pairs

    def _apply_rules(self, pairs: Sequence[tuple[_Row, PairRow]]) -> None:
        """Set for each row the first rule that drops it."""
        before = {name: drops for name, drops in self._made_rules.items() if name in FIRST_RULES}
        _apply(before, pairs)
        for row, _ in pairs:
            row.rule = row.rule or missed_by_text(row.text, row.folded, self.settings.rules)
        _apply({name: drops for name, drops in self._made_rules.items() if name not in before}, pairs)

    def _finish(self, kept: Sequence[tuple[_Row, PairRow]]) -> None:
        """Compute what only rows need that no rule has dropped: split, hashes, text without personal data."""
        for (row, pair), compared in zip(kept, self._compared(kept), strict=True):
            row.split = self._split(row.uid)
            row.uid_hash, row.url_hash = hash64(row.uid.encode()), hash64(pair.url.encode())
            row.picture_hash = hash64(pair.sha256.encode()) if pair.sha256 else None
            row.text_hash = hash64(compared.encode())
            if self.settings.rules.pii == "mask" and (masked := self._personal_data.mask(row.text)) != row.text:
                row.text, row.flags = masked, ("pii",)

    def _compared(self, kept: Sequence[tuple[_Row, PairRow]]) -> Iterator[str]:
        dedup = self.settings.dedup
        texts, folded, hosts = ([getattr(pair, name) for _, pair in kept] for name in ("text", "folded", "host"))
        if not dedup.near or dedup.policy == "off":
            return iter(folded)
        return all_facts(texts, folded, hosts, strict=dedup.policy == "strict")

    def _carry_context(self, kept: Sequence[_Row], file: DataFile, batch: pa.RecordBatch) -> None:
        """Repair and shorten the text around each image. What personal data it has is masked, unless it is kept."""
        landed = dict(
            zip(((file.number << _ROW_BITS) | r for r in batch["row"].to_pylist()), batch["context"], strict=True)
        )
        for row in kept:
            whole = (landed[row.id].as_py() or b"")[:_CONTEXT_BYTES].decode(errors="ignore")
            text = repair(whole)[:_CONTEXT_CHARS].strip()
            row.context = (text if self.settings.rules.pii == "keep" else self._personal_data.mask(text)) or None

    def _sketches(self, rows: Sequence[_Row], embeddings: pa.Array) -> dict[str, Any]:
        dedup, found = self.settings.dedup, dict[str, Any]()
        if dedup.near and dedup.policy == "off" and rows:
            sketches = minhash.text_sketches([row.folded for row in rows], dedup)
            found |= _columns("text", *sketches, np.array([row.rule is None for row in rows]))
        if dedup.embedding_similarity is not None and (known := minhash.embedding_sketches(embeddings)):
            found |= _columns("meaning", *known)
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


def _apply(rules: Mapping[str, Rule], pairs: Sequence[tuple[_Row, PairRow]]) -> None:
    """Ask one rule after the other of the rows that are left."""
    for name, drops in rules.items():
        left = [pair for pair in pairs if pair[0].rule is None]
        for (row, pair), ask in zip(left, _asked(drops, [pair for _, pair in left]), strict=True):
            try:
                row.rule = name if ask and drops(pair) else None
            except Exception as error:  # whatever the rule of another package raises; the text itself is not shown
                raise BadData(
                    f"The rule '{name}' raised {type(error).__name__} for the row with the uid {row.uid}. Correct the "
                    f"rule, or remove it from ingest.rules.extra."
                ) from error


def _asked(rule: Rule, pairs: Sequence[PairRow]) -> Sequence[bool]:
    if not hasattr(rule, "suspects"):
        return [True] * len(pairs)
    texts, folded = (pa.array([getattr(pair, name) for pair in pairs], pa.string()) for name in ("text", "folded"))
    suspects: Sequence[bool] = rule.suspects(texts, folded)
    return suspects


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
