"""What identifies landing rows: their place, uid, URL and text, as they were landed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kale_tasks.ingest.pieces import DataFile
from kale_tasks.lake.hashing import short_sha256

_UID = re.compile(r"[0-9a-f]{32}")
_UID_DIGITS = 32
_PART_DIGITS = 8  # of the uid, by which rows are assigned to parts
_ROW_BITS = 36  # the lower bits of a row's id are its number in the file, the upper ones the number of the file
Longs = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LandedRows:
    """The rows of a batch, as columns. What could not be read has a reason and its place."""

    ids: Longs
    parts: Longs
    uids: list[str]
    urls: list[str]
    alt_texts: list[str]
    sha256s: list[str]  # as claimed; empty: none
    reasons: list[str | None]
    details: list[str | None]


def read_rows(file: DataFile, batch: pa.RecordBatch, parts: int) -> LandedRows:
    """Return the rows of a batch in the schema RAW. `parts` is the number of parts of the key."""
    (texts, no_texts), (urls, no_urls) = _texts(batch["alt_text"]), _texts(batch["url"])
    reasons = batch["reason"].to_pylist()
    for n in {*no_texts, *no_urls}:
        reasons[n], texts[n], urls[n] = "not_utf8", "", ""
    bad = {n: f"{file.name}: row {batch['row'][n].as_py()}" for n, reason in enumerate(reasons) if reason}
    identities = [f"{url}\0{text}" for url, text in zip(urls, texts, strict=True)]
    uids = _uids(batch["uid"], [bad.get(n) or identity for n, identity in enumerate(identities)])
    heads = np.frombuffer(bytes.fromhex("".join([uid[:_PART_DIGITS] for uid in uids])), ">u4").astype(np.int64)
    details = {n: batch["detail"][n].as_py() or place for n, place in bad.items()}
    return LandedRows(
        ids=(file.number << _ROW_BITS) | batch["row"].to_numpy(),
        parts=heads * parts >> 4 * _PART_DIGITS,
        uids=uids,
        urls=urls,
        alt_texts=texts,
        sha256s=_digests(batch["sha256"]),
        reasons=reasons,
        details=[details.get(n) for n in range(len(uids))],
    )


def _texts(landed: pa.Array) -> tuple[list[str], list[int]]:
    """Return texts that were landed as bytes, empty if there is none, and the numbers of those that are not UTF-8."""
    try:
        return landed.fill_null(b"").cast(pa.string()).to_pylist(), []
    except pa.ArrowInvalid:
        found = [_decoded(value or b"") for value in landed.to_pylist()]
        return [text or "" for text in found], [n for n, text in enumerate(found) if text is None]


def _decoded(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _uids(landed: pa.Array, identities: Sequence[str]) -> list[str]:
    """Return the landed uids, and where there is none, or no valid one, the hash of what else identifies the row."""
    if landed.null_count == len(landed):
        return [sha256(identity.encode()).hexdigest()[:_UID_DIGITS] for identity in identities]
    lower = [(value or b"").decode("ascii", "replace").lower() for value in landed.to_pylist()]
    return [
        uid if _UID.fullmatch(uid) else short_sha256(identity, _UID_DIGITS)
        for uid, identity in zip(lower, identities, strict=True)
    ]


def _digests(landed: pa.Array) -> list[str]:
    """Return claimed SHA-256s as hex digits, also if the source gives 32 bytes; empty where there is no text."""
    if landed.null_count == len(landed):
        return [""] * len(landed)
    values = [value or b"" for value in landed.to_pylist()]
    return [value.hex() if len(value) == 32 else value.decode(errors="ignore") for value in values]
