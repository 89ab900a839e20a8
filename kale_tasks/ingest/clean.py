"""Cleans batches of landing rows: repairs texts, applies the row rules, computes the hashes for deduplication."""

from collections.abc import Mapping, Sequence
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
from kale_tasks.ingest.landed import LandedRows, Longs, read_rows
from kale_tasks.ingest.limits import missed_by_image, missed_by_text
from kale_tasks.ingest.normalize import fold_all, hash64_all, repair, repair_all
from kale_tasks.ingest.pieces import DataFile
from kale_tasks.ingest.rules import FIRST_RULES, PairRow, PersonalData, Rule
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.tombstones import TAKEDOWN, Matcher
from kale_tasks.settings.ingest import Ingest
from kale_tasks.text.language import languages_of
from kale_tasks.urls import normal_urls

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
_CONTEXT_BYTES, _CONTEXT_CHARS = 1 << 14, 2000  # most of the text around an image that is read, and that is kept
_COPIED = ("width", "height", "clip_b32", "clip_l14", "face_boxes")
_SPLITS = ("holdout", "stage1", "stage2")


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
        landed = read_rows(file, batch, self.parts)
        texts = repair_all(landed.alt_texts)
        limits = missed_by_image(batch, self.settings.rules).to_pylist()
        rules, pairs = self._pairs(landed, texts, limits)
        self._apply_rules(rules, pairs)
        kept = [n for n in pairs if rules[n] is None]
        columns = _of_all(landed, texts) | {"key": pa.repeat(self.key, len(texts))}
        columns |= {"source": pa.repeat(file.name, len(texts)), "row_rule": rules}
        columns |= {"lang": _spread([pair.lang for pair in pairs.values()], list(pairs), len(texts))}
        columns |= {name: batch[name] for name in _COPIED}
        columns |= self._of_kept([pairs[n] for n in kept], kept, columns)
        if batch["context"].null_count < batch.num_rows:
            columns["context"] = _spread(self._contexts(batch["context"].take(pa.array(kept, _LONG))), kept, len(texts))
        columns |= self._sketches(pairs, kept, batch["embedding"])
        return self._apply_takedowns(
            pa.RecordBatch.from_pydict(
                {f.name: columns.get(f.name, pa.nulls(len(texts), f.type)) for f in CLEAN}, CLEAN
            )
        )

    def _apply_takedowns(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Set the takedown rule where a takedown matches, in place of any other rule."""
        matched = self.takedowns.matches(pa.Table.from_batches([rows])).combine_chunks()
        place = CLEAN.get_field_index("row_rule")
        return rows.set_column(place, CLEAN.field(place), pc.if_else(matched, TAKEDOWN, rows["row_rule"]))

    def _pairs(
        self, landed: LandedRows, texts: Sequence[str], limits: Sequence[str | None]
    ) -> tuple[list[str | None], dict[int, PairRow]]:
        """Return the rules that drop rows without URL or text, or for a limit of the image; and by number the others.

        What could not be read is neither.
        """
        urls = normal_urls(landed.urls)
        rules = [
            "no_url" if url is None else limit if text else "no_text"
            for url, text, limit in zip(urls, texts, limits, strict=True)
        ]
        left = [n for n, reason in enumerate(landed.reasons) if reason is None and rules[n] is None]
        chosen = [texts[n] for n in left]
        folded, languages = fold_all(chosen), languages_of(chosen, self.settings.rules.language_confidence)
        digests = [landed.sha256s[n].strip().lower() for n in left]
        shown = zip(left, digests, chosen, folded, languages, strict=True)
        return rules, {n: PairRow(landed.uids[n], *urls[n], *more) for n, *more in shown}  # type: ignore[misc]

    def _apply_rules(self, rules: list[str | None], pairs: Mapping[int, PairRow]) -> None:
        """Set for each row the first rule that drops it."""
        before = {name: drops for name, drops in self._made_rules.items() if name in FIRST_RULES}
        _apply(before, rules, pairs)
        texts, folded = ([getattr(pair, name) for pair in pairs.values()] for name in ("text", "folded"))
        for n, limit in zip(pairs, missed_by_text(texts, folded, self.settings.rules), strict=True):
            rules[n] = rules[n] or limit
        _apply({name: drops for name, drops in self._made_rules.items() if name not in before}, rules, pairs)

    def _of_kept(self, pairs: Sequence[PairRow], kept: Sequence[int], columns: Mapping[str, Any]) -> dict[str, Any]:
        """Return what only rows have that no rule drops: split, hashes, text without personal data."""
        rows = len(columns["row_rule"])
        hashes = {
            "uid_hash": hash64_all([pair.uid for pair in pairs]),
            "url_hash": hash64_all([pair.url for pair in pairs]),
            "text_hash": hash64_all(self._compared(pairs)),
        }
        found = {name: _longs(values, kept, rows) for name, values in hashes.items()}
        pictures = [n for n, pair in zip(kept, pairs, strict=True) if pair.sha256]
        found["picture_hash"] = _longs(hash64_all([pair.sha256 for pair in pairs if pair.sha256]), pictures, rows)
        found["split"] = _spread(self._splits(pairs), kept, rows)
        if self.settings.rules.pii == "mask":
            masked = self._personal_data.mask_all([pair.text for pair in pairs])
            found["text"], found["flags"] = list(columns["text"]), list(columns["flags"])
            for n, text, pair in zip(kept, masked, pairs, strict=True):
                if text != pair.text:
                    found["text"][n], found["flags"][n] = text, ("pii",)
        return found

    def _compared(self, pairs: Sequence[PairRow]) -> list[str]:
        dedup = self.settings.dedup
        texts, folded, hosts = ([getattr(pair, name) for pair in pairs] for name in ("text", "folded", "host"))
        if not dedup.near or dedup.policy == "off":
            return folded
        return all_facts(texts, folded, hosts, strict=dedup.policy == "strict")

    def _contexts(self, landed: pa.Array) -> list[str | None]:
        """Repair and shorten the text around each image. What personal data it has is masked, unless it is kept."""
        found: list[str | None] = []
        for value in landed.to_pylist():
            text = repair((value or b"")[:_CONTEXT_BYTES].decode(errors="ignore"))[:_CONTEXT_CHARS].strip()
            found.append((text if self.settings.rules.pii == "keep" else self._personal_data.mask(text)) or None)
        return found

    def _sketches(self, pairs: Mapping[int, PairRow], kept: Sequence[int], embeddings: pa.Array) -> dict[str, Any]:
        dedup, found, rows = self.settings.dedup, dict[str, Any](), len(embeddings)
        if dedup.near and dedup.policy == "off" and rows:
            known = np.zeros(rows, bool)
            known[kept] = True
            sketches = minhash.text_sketches([pairs[n].folded if n in pairs else "" for n in range(rows)], dedup)
            found |= _columns("text", *sketches, known)
        if dedup.embedding_similarity is not None and (meanings := minhash.embedding_sketches(embeddings)):
            found |= _columns("meaning", *meanings)
        return found

    def _splits(self, pairs: Sequence[PairRow]) -> list[str]:
        hashes = hash64_all([f"split {pair.uid}" for pair in pairs]).view(np.uint64)
        shares = (hashes ^ np.uint64(1 << 63)) / 2.0**64
        split = self.settings.split
        places = np.searchsorted([split.holdout, split.holdout + split.stage1], shares, "right")
        return [_SPLITS[place] for place in places.tolist()]

    @cached_property
    def _made_rules(self) -> Mapping[str, Rule]:
        return {name: make() for name, make in self.rules.items()}

    @cached_property
    def _personal_data(self) -> PersonalData:
        return PersonalData(self.lists.patterns["pii"])


def _apply(made: Mapping[str, Rule], rules: list[str | None], pairs: Mapping[int, PairRow]) -> None:
    """Ask one rule after the other of the rows that are left."""
    for name, drops in made.items():
        left = [n for n in pairs if rules[n] is None]
        for n, ask in zip(left, _asked(drops, [pairs[n] for n in left]), strict=True):
            try:
                rules[n] = name if ask and drops(pairs[n]) else None
            except Exception as error:  # whatever the rule of another package raises; the text itself is not shown
                raise BadData(
                    f"The rule '{name}' raised {type(error).__name__} for the row with the uid {pairs[n].uid}. Correct "
                    f"the rule, or remove it from ingest.rules.extra."
                ) from error


def _asked(rule: Rule, pairs: Sequence[PairRow]) -> Sequence[bool]:
    if not hasattr(rule, "suspects"):
        return [True] * len(pairs)
    texts, folded = (pa.array([getattr(pair, name) for pair in pairs], pa.string()) for name in ("text", "folded"))
    suspects: Sequence[bool] = rule.suspects(texts, folded)
    return suspects


def _of_all(landed: LandedRows, texts: Sequence[str]) -> dict[str, Any]:
    """Return the columns that every row has, dropped or not."""
    return {
        "id": landed.ids,
        "part": landed.parts,
        "uid": landed.uids,
        "url": [url or None for url in landed.urls],
        "alt_text": landed.alt_texts,
        "text": texts,
        "sha256": [sha256 or None for sha256 in landed.sha256s],
        "reason": landed.reasons,
        "detail": landed.details,
        "flags": [()] * len(texts),
    }


def _spread(values: Sequence[Any], places: Sequence[int], rows: int) -> list[Any]:
    """Return a column that has these values at some places, and null at all others."""
    column: list[Any] = [None] * rows
    for place, value in zip(places, values, strict=True):
        column[place] = value
    return column


def _longs(values: Longs, places: Sequence[int], rows: int) -> pa.Array:
    """Do the same for numbers."""
    column, unknown = np.zeros(rows, np.int64), np.ones(rows, bool)
    column[places], unknown[places] = values, False
    return pa.array(column, mask=unknown)


def _columns(kind: str, bands: minhash.Longs, sketch: minhash.Longs, known: minhash.Flags) -> dict[str, pa.Array]:
    unknown = pa.array(~known)
    offsets = pa.array(range(0, bands.size + 1, bands.shape[1]), pa.int32())
    lists = pa.ListArray.from_arrays(offsets, pa.array(bands.ravel()), mask=unknown)
    return {f"{kind}_bands": lists} | {
        f"{kind}_{half}": pa.array(sketch[:, i], mask=~known) for i, half in enumerate("ab")
    }
