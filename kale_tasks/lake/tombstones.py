"""What must never come back: lists of rows to take down, kept as digests, asked by every step that lets rows in."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kale_tasks.errors import BadConfig, BadData
from kale_tasks.lake.hashing import short_sha256
from kale_tasks.lake.tables import Lake
from kale_tasks.urls import normal_url

FOLDER = "takedowns"
_REQUESTS = f"{FOLDER}/requests"
_LIST = "/list.json"  # in the folder of a takedown
TAKEDOWN = "takedown"  # the rule under which such rows are counted
KINDS = ("uid", "url", "host", "sha256", "pattern")
_COLUMNS = {"uid": ("uid",), "url": ("url", "final_url"), "host": ("url", "final_url"), "sha256": ("sha256",)}
_MOST_COPIES = 20  # different files of a key that look alike and may still be copies of one picture
_PLAIN_HOST = r"^https?://(?P<host>[a-z0-9-]+(?:\.[a-z0-9-]+)+)(?:[/?#]|$)"  # of URLs that need no parser
_TEXTS = ("alt_text", "text", "dense_caption", "caption")


@dataclass(frozen=True)
class Matcher:
    """Knows what is taken down; can be sent to another process."""

    content: str = ""  # changes with the lists: for the fingerprint of a step that asks
    digests: Mapping[str, frozenset[str]] = field(default_factory=dict)
    patterns: tuple[str, ...] = ()
    phashes: tuple[int, ...] = ()  # of images that were taken down by their bytes: near copies are, too
    near_bits: int = 0

    def matches(self, rows: pa.Table) -> pa.ChunkedArray:
        """For each row whether it is taken down, by whichever of the columns there are."""
        hit = pa.chunked_array([pa.repeat(pa.scalar(False), rows.num_rows)])
        for kind, known in self.digests.items():
            columns = [rows[name].cast(pa.string()) for name in _COLUMNS[kind] if known and name in rows.column_names]
            # Each value is hashed once: most images are where their URL says.
            values = pc.unique(pa.chunked_array([chunk for one in columns for chunk in one.chunks], pa.string()))
            named = _named(kind, known, values.drop_null())
            for one in columns:
                hit = pc.or_(hit, pc.is_in(one, value_set=named))
        for pattern in self.patterns:
            for name in (n for n in _TEXTS if n in rows.column_names):
                found = pc.match_substring_regex(rows[name], pattern, ignore_case=True)
                hit = pc.or_(hit, pc.fill_null(found, False))
        if self.phashes and "phash" in rows.column_names:
            hit = pc.or_(hit, pa.chunked_array([pa.array(self._near(rows["phash"]), pa.bool_())]))
        return hit

    def _near(self, phashes: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
        hit: npt.NDArray[np.bool_] = np.zeros(len(phashes), dtype=np.bool_)
        values = pc.fill_null(phashes, 0).to_numpy().view(np.uint64)
        for phash in np.array(self.phashes, dtype=np.int64).view(np.uint64):
            hit |= np.bitwise_count(values ^ phash) <= self.near_bits
        hit &= pc.is_valid(phashes).to_numpy()
        return hit


def matcher(lake: Lake) -> Matcher:
    """Everything that was ever taken down in this lake: what the lists name, and the uids found by them.

    Raises BadData if a file of it cannot be read: without it, rows that were taken down would come back.
    """
    paths = sorted(entry.path for entry in lake.storage.entries(FOLDER))
    names = [path for path in paths if path.endswith(_LIST)]
    lists = [_parsed(lake, path, lake.storage.read(path)) for path in names]
    if not lists:
        return Matcher()
    digests = {kind: {d for one in lists for d in one["digests"].get(kind, ())} for kind in _COLUMNS}
    phashes = set[int]()
    for path in paths:
        if "/uids/" in path:
            text = lake.storage.read(path)
            digests["uid"].update(_parsed(lake, path, text))
            # Part of the content, too: captions have no URL, so a release depends on what a sweep has found by then.
            names.append(f"{path} {short_sha256(text)}")
        elif "/phashes/" in path:
            phashes.update(_parsed(lake, path, lake.storage.read(path)))
            names.append(path)  # what is known by now is part of the content, too
    patterns = tuple(sorted({pattern for one in lists for pattern in one["patterns"]}))
    known = {kind: frozenset(found) for kind, found in digests.items()}
    near_bits = lake.settings.images.near_bits
    return Matcher(short_sha256("".join(names)), known, patterns, tuple(sorted(phashes)), near_bits)


def matcher_of(wanted: Mapping[str, Iterable[str]]) -> Matcher:
    """What one list names, without asking any lake."""
    named = json.loads(_text(wanted))
    known = {kind: frozenset(found) for kind, found in named["digests"].items()}
    return Matcher(digests=known, patterns=tuple(named["patterns"]))


def record_uids(lake: Lake, name: str, key: str, uids: Iterable[str]) -> None:
    """Record the uids that a takedown finds in a key, before any of its rows is removed.

    A commit of another table must find them too, when the row that has the URL or the bytes is gone.
    """
    known = set(recorded_uids(lake, name, key))
    if found := {digest("uid", uid) for uid in uids} - known:
        lake.storage.put(_uids_path(name, key), json.dumps(sorted(known | found)).encode())


def record_phashes(lake: Lake, name: str) -> bool:
    """Record how the images look whose bytes a list names, so that near copies are found; True if there are new ones.

    A picture that many others look like, such as a plain one, is left out: only its bytes are taken down.
    """
    bytes_named = matcher(lake).digests.get("sha256")
    new = False
    for key in lake.keys("images") if bytes_named else ():
        rows = lake.arrow("images", key, ["sha256", "phash"], where="status == 'ok'")
        named = Matcher(digests={"sha256": bytes_named or frozenset()}).matches(rows)
        path, found = f"{FOLDER}/{name}/phashes/{key}.json", _distinct(lake, rows, named)
        known = set(_parsed(lake, path, lake.storage.read(path))) if found and lake.storage.exists(path) else set[int]()
        if found - known:
            lake.storage.put(path, json.dumps(sorted(found | known)).encode())
            new = True
    return new


def _distinct(lake: Lake, rows: pa.Table, named: pa.ChunkedArray) -> set[int]:
    """Return the perceptual hashes of the named rows that few other images resemble."""
    found = set[int]()
    for phash in pc.unique(rows["phash"].filter(named)).drop_null().to_pylist():
        alike = Matcher(phashes=(phash,), near_bits=lake.settings.images.near_bits).matches(rows)
        if len(pc.unique(rows["sha256"].filter(alike))) <= _MOST_COPIES:
            found.add(phash)
    return found


def recorded_uids(lake: Lake, name: str, key: str) -> list[str]:
    """Return the digests of the uids that a takedown has found in a key."""
    path = _uids_path(name, key)
    try:
        return list(_parsed(lake, path, lake.storage.read(path)))
    except FileNotFoundError:
        return []


def add(lake: Lake, wanted: Mapping[str, Iterable[str]]) -> None:
    """Add a list to the lake; the same list twice is one, and the second time replaces a damaged file."""
    lake.storage.put(f"{FOLDER}/{name_of(wanted)}{_LIST}", _text(wanted))


def put_request(lake: Lake, wanted: Mapping[str, Iterable[str]]) -> str:
    """Put a list where a Dag can read it, and return its address. The takedown deletes it: it names what must go."""
    lines = "\n".join(f"{kind} {value}" for kind, values in wanted.items() for value in values)
    path = f"{_REQUESTS}/{short_sha256(lines)}.txt"
    lake.storage.put(path, lines.encode())
    return lake.storage.uri(path)


def forget_request(lake: Lake, wanted: Mapping[str, Iterable[str]]) -> None:
    """Delete the lists that asked for just this."""
    known = {kind: [*values] for kind, values in wanted.items() if [*values]}
    for path in [entry.path for entry in lake.storage.entries(_REQUESTS)]:
        if read_lines(lake.storage.read(path).decode().splitlines()) == known:
            lake.storage.delete(path)


def name_of(wanted: Mapping[str, Iterable[str]]) -> str:
    """What a list is called: the same for the same list."""
    return short_sha256(_text(wanted))


def digest(kind: str, value: str) -> str:
    """Return the hash under which a list keeps a value: it can be looked up but not read."""
    return short_sha256(f"{kind} {_NORMAL[kind](value.strip())}", 32)


def read_lines(lines: Iterable[str]) -> dict[str, list[str]]:
    """A list as people write it: one `kind value` a line, or a bare uid, URL, SHA-256 or host; `#` begins a comment."""
    wanted: dict[str, list[str]] = {}
    for number, line in enumerate((text.strip() for text in lines), 1):
        if line and not line.startswith("#"):
            kind, _, value = line.partition(" ")
            if kind not in KINDS:
                kind, value = _guess(line, number), line
            wanted.setdefault(kind, []).append(value.strip())
    return wanted


def _parsed(lake: Lake, path: str, text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        again = "Repeat that takedown with the same list, or restore" if path.endswith(_LIST) else "Restore"
        raise BadData(f"{lake.storage.uri(path)} is damaged: {error}. {again} the file from a backup.") from error


def _uids_path(name: str, key: str) -> str:
    return f"{FOLDER}/{name}/uids/{key}.json"


def _guess(value: str, number: int) -> str:
    if "://" in value:
        return "url"
    if all(c in "0123456789abcdef" for c in value.lower()) and len(value) in (32, 64):
        return "uid" if len(value) == 32 else "sha256"
    if "." in value and " " not in value:
        return "host"
    raise BadConfig(
        f"Line {number} of the list is neither a uid, a URL, a host nor a SHA-256. Write `pattern WORDS` to match text."
    )


def _checked(pattern: str) -> str:
    try:
        pc.match_substring_regex(pa.array([""]), pattern)
    except pa.ArrowInvalid as error:
        raise BadConfig(f"'{pattern[:80]}' is no pattern: {' '.join(str(error).split())[:200]}") from error
    return pattern


def _named(kind: str, known: Collection[str], values: pa.Array) -> pa.Array:
    """Return those of some values that the list of a kind names."""
    if kind != "host":
        return pa.array([value for value in values.to_pylist() if digest(kind, value) in known], pa.string())
    hosts = pc.struct_field(pc.extract_regex(values, _PLAIN_HOST), "host")
    named = [host for host in hosts.drop_null().unique().to_pylist() if _is_host_named(known, host)]
    odd = values.filter(pc.is_null(hosts)).to_pylist()
    found = [url for url in odd if _is_host_named(known, (normal_url(url) or ("", ""))[0])]
    plain = values.filter(pc.is_in(hosts, value_set=pa.array(named, pa.string())))
    return pa.concat_arrays([plain, pa.array(found, pa.string())])


def _is_host_named(known: Collection[str], host: str) -> bool:
    # A host is also found by each domain above it.
    labels = host.split(".")
    return any(digest("host", ".".join(labels[i:])) in known for i in range(max(1, len(labels) - 1)))


def _url(url: str) -> str:
    return (normal_url(url) or ("", url))[1]


_NORMAL: Mapping[str, Callable[[str], str]] = {
    "uid": str.lower,
    "url": _url,
    "host": lambda host: host.lower().rstrip("."),
    "sha256": str.lower,
}


def _text(wanted: Mapping[str, Iterable[str]]) -> bytes:
    digests = {kind: sorted({digest(kind, value) for value in wanted.get(kind, ())}) for kind in _COLUMNS}
    patterns = sorted({_checked(pattern) for pattern in wanted.get("pattern", ())})
    if not patterns and not any(digests.values()):
        raise BadConfig("The list names nothing to take down. Write a uid, URL, host or SHA-256 on each line of it.")
    return json.dumps({"digests": digests, "patterns": patterns}, sort_keys=True, indent=1).encode()
