"""Xet's content-addressed store as far as hf-xet speaks with it: xorbs, shards, and reconstruction by ranges of chunks.

By https://huggingface.co/docs/xet. Hashes are not recomputed and chunks are not looked up for other repositories.
"""

import re
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.hub.http import Answer

_ENTRY = 48
_VERIFIED, _HAS_METADATA = 1 << 31, 1 << 30


@dataclass(frozen=True)
class Term:
    """Chunks `start` to `stop` of a xorb, and their bytes."""

    xorb: str
    start: int
    stop: int
    size: int


@dataclass(frozen=True)
class XetFile:
    """A file of a shard: its hash, its SHA-256 if the shard names it, and the chunks that it is made of."""

    hash: str
    sha256: str
    terms: tuple[Term, ...]

    @property
    def size(self) -> int:
        return sum(term.size for term in self.terms)


class XetStore:
    """The store; `files` are those that shards have described, by SHA-256."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.files: dict[str, XetFile] = {}
        self.received = 0  # bytes of xorbs

    def token(self, url: str) -> Answer:
        expires = int(time.time()) + 3600
        named = {"X-Xet-Cas-Url": url, "X-Xet-Access-Token": "xet", "X-Xet-Token-Expiration": str(expires)}
        return Answer(200, {"casUrl": url, "accessToken": "xet", "exp": expires}, named)

    def put_xorb(self, name: str, body: bytes) -> Answer:
        self.received += len(body)
        new = not (self.folder / name).exists()
        (self.folder / name).write_bytes(body)
        return Answer(200, {"was_inserted": new})

    def put_shard(self, body: bytes) -> Answer:
        for file in files_of(body):
            if missing := [term.xorb for term in file.terms if not (self.folder / term.xorb).exists()]:
                raise Answer(400, {"error": f"xorb {missing[0]} is not uploaded"})
            self.files[file.sha256] = file
        # The second version of the API reports progress in lines; the last one has the result.
        return Answer(200, b'{"type": "result", "result": 1}\n', {"Content-Type": "application/x-ndjson"})

    def reconstruct(self, name: str, url: str, wanted: str) -> Answer:
        file = next((one for one in self.files.values() if one.hash == name), None)
        if file is None:
            return Answer(404, {"error": "no such file"})
        first, last = _range(wanted, file.size)
        if first >= file.size:
            return Answer(416, {"error": "behind the end"})
        terms, offset, place = list[Term](), 0, 0
        for term in file.terms:
            if place < last and place + term.size > first:
                offset = offset if terms else first - place
                terms.append(term)
            place += term.size
        fetch: dict[str, list[dict[str, Any]]] = {}
        for term in terms:
            begin, end = _bytes_of((self.folder / term.xorb).read_bytes(), term.start, term.stop)
            fetch.setdefault(term.xorb, []).append({
                "range": {"start": term.start, "end": term.stop}, "url": f"{url}/xet/{term.xorb}",
                "url_range": {"start": begin, "end": end - 1},
            })  # fmt: skip
        listed = [
            {"hash": term.xorb, "unpacked_length": term.size, "range": {"start": term.start, "end": term.stop}}
            for term in terms
        ]
        return Answer(200, {"offset_into_first_range": offset, "terms": listed, "fetch_info": fetch})

    def read(self, name: str, wanted: str) -> Answer:
        data = (self.folder / name).read_bytes()
        start, stop = _range(wanted, len(data))
        said = {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}", "Content-Type": "application/octet-stream"}
        return Answer(206, data[start:stop], said)


def files_of(shard: bytes) -> list[XetFile]:
    """Return the files that a shard describes, by its section of file entries."""
    at, found = _ENTRY, list[XetFile]()  # behind the header
    while shard[at : at + 32] != b"\xff" * 32:
        flags, count = struct.unpack_from("<II", shard, at + 32)
        name, at = _text(shard[at : at + 32]), at + _ENTRY
        terms = []
        for _ in range(count):
            size, start, stop = struct.unpack_from("<III", shard, at + 36)
            terms.append(Term(_text(shard[at : at + 32]), start, stop, size))
            at += _ENTRY
        at += _ENTRY * count if flags & _VERIFIED else 0
        sha256 = ""
        if flags & _HAS_METADATA:
            sha256, at = _text(shard[at : at + 32]), at + _ENTRY
        found.append(XetFile(name, sha256, tuple(terms)))
    return found


def _text(hash_: bytes) -> str:
    """Spell a hash as the protocol does: as four numbers of 64 bits, little-endian."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", hash_))


def _bytes_of(xorb: bytes, start: int, stop: int) -> tuple[int, int]:
    """Return where some chunks of a xorb begin and end, by the headers of its chunks."""
    at, places = 0, list[int]()
    for _ in range(stop):
        places.append(at)
        at += 8 + int.from_bytes(xorb[at + 1 : at + 4], "little")
    return places[start], at


def _range(text: str, size: int) -> tuple[int, int]:
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", text)
    return (int(match[1]), min(size, int(match[2] or size - 1) + 1)) if match else (0, size)
