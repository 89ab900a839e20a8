"""Loads the lists that `ingest.lists` names: patterns, words, domains and evaluation items."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from kale_tasks.errors import BadConfig
from kale_tasks.ingest.normalize import fold, hash64, repair
from kale_tasks.lake.hashing import short_sha256
from kale_tasks.lake.storage.base import Storage
from kale_tasks.resources import resource
from kale_tasks.settings.ingest import Lists
from kale_tasks.urls import normal_url

# What a list is called in fingerprints, wherever it is: the shipped ones, and what the demo calls its evaluation set.
_CALLED = {
    "patterns": "config/ingest/patterns.yaml",
    "nsfw": "config/ingest/nsfw.txt",
    "domains": "domains",
    "evaluation": "_eval",
}


@dataclass(frozen=True)
class Blocklists:
    """The loaded lists. Can be pickled."""

    patterns: Mapping[str, Any]
    nsfw: frozenset[str]
    domains: frozenset[str]
    evaluation: frozenset[int]  # hashes of phrases, URLs and image digests


def hashed_settings(lists: Lists) -> dict[str, Any]:
    """Return what the fingerprint takes from the settings of the lists: not where they are, which changes no row."""
    known = lists.semantic()
    return {**known, **{name: called for name, called in _CALLED.items() if name in known}}


def list_contents(landing: Storage, lists: Lists) -> dict[str, str]:
    """Hash the content of each list, for the fingerprint. Comments and layout of the files change nothing."""
    found = {
        "patterns": json.dumps(yaml.safe_load(b"".join(_files(landing, lists.patterns))), sort_keys=True).encode(),
        "nsfw": lists.nsfw and "\n".join(_lines(landing, lists.nsfw)).encode(),
        "domains": lists.domains and "\n".join(_lines(landing, lists.domains)).encode(),
        "evaluation": lists.evaluation and b"".join(_files(landing, lists.evaluation, ".parquet")),
    }
    return {name: short_sha256(data) for name, data in found.items() if isinstance(data, bytes)}


def read_lists(landing: Storage, lists: Lists) -> Blocklists:
    """Load all lists that are set. Raises BadConfig when one does not exist."""
    patterns = yaml.safe_load(b"".join(_files(landing, lists.patterns)))
    return Blocklists(
        patterns=patterns,
        nsfw=frozenset(_lines(landing, lists.nsfw)),
        domains=frozenset(line.lower().removeprefix("*.").strip(".") for line in _lines(landing, lists.domains)),
        evaluation=frozenset(_evaluation(landing, lists)),
    )


def phrases(folded: str, width: int) -> Iterator[int]:
    """Yield a hash of each run of `width` words of a folded text; of the whole text if it is shorter."""
    words = folded.split()
    for start in range(max(1, len(words) - width + 1)):
        yield hash64(" ".join(words[start : start + width]).encode())


def _evaluation(landing: Storage, lists: Lists) -> Iterator[int]:
    for content in _files(landing, lists.evaluation, ".parquet") if lists.evaluation else ():
        items = pq.read_table(pa.BufferReader(content))
        for name in {"text", "url", "sha256"} & set(items.column_names):
            for value in filter(None, items[name].to_pylist()):
                if name == "text":
                    yield from phrases(fold(repair(value)), lists.evaluation_words)
                elif name == "sha256":
                    yield hash64(value.lower().encode())
                elif normal := normal_url(value):
                    yield hash64(normal[1].encode())


def _lines(landing: Storage, name: str | None) -> Iterator[str]:
    for content in _files(landing, name) if name else ():
        entries = (line.partition("#")[0].strip() for line in content.decode("utf-8").splitlines())
        yield from filter(None, entries)


def _files(landing: Storage, name: str, suffix: str = "") -> list[bytes]:
    shipped = resource(name)  # an absolute path stays as it is
    if shipped.is_file():
        return [shipped.read_bytes()]
    if shipped.is_dir() and Path(name).is_absolute():  # perhaps outside of the landing area
        return [path.read_bytes() for path in sorted(shipped.rglob(f"*{suffix}")) if path.is_file()]
    paths = sorted(e.path for e in landing.entries(name) if e.path.endswith(suffix)) or [name]
    try:
        return [landing.read(path) for path in paths]
    except OSError as error:
        raise BadConfig(
            f"The list {name} is not in {landing.root}. Put it there, or set its entry in ingest.lists to null."
        ) from error
