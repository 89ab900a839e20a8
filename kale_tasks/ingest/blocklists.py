"""Words, domains, opt-outs and evaluation items that the settings name, read once and sent along with the work."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from kale_tasks.errors import BadConfig
from kale_tasks.ingest.hashes import hash64
from kale_tasks.ingest.text import fold, repair
from kale_tasks.lake.storage.base import Storage
from kale_tasks.resources import resource
from kale_tasks.settings.ingest import Lists
from kale_tasks.urls import normal_url


@dataclass(frozen=True)
class Known:
    """What the lists hold, ready to be asked."""

    patterns: Mapping[str, Any]
    nsfw: frozenset[str]
    domains: frozenset[str]
    evaluation: frozenset[int]


def contents(storage: Storage, lists: Lists) -> dict[str, str]:
    """A hash of each list's content, for the fingerprint."""
    return {
        name: hashlib.sha256(b"".join(_files(storage, str(value)))).hexdigest()[:20]
        for name, value in lists.semantic().items()
        if isinstance(value, str)
    }


def read_lists(storage: Storage, lists: Lists) -> Known:
    """All lists that are named."""
    patterns = yaml.safe_load(b"".join(_files(storage, lists.patterns)))
    return Known(
        patterns=patterns,
        nsfw=frozenset(_lines(storage, lists.nsfw)),
        domains=frozenset(line.lower().removeprefix("*.").strip(".") for line in _lines(storage, lists.domains)),
        evaluation=frozenset(_evaluation(storage, lists)),
    )


def phrases(folded: str, width: int) -> Iterator[int]:
    """Hashes of every so many words in a row; of all words when there are fewer."""
    words = folded.split()
    for start in range(max(1, len(words) - width + 1)):
        yield hash64(" ".join(words[start : start + width]).encode())


def _evaluation(storage: Storage, lists: Lists) -> Iterator[int]:
    for content in _files(storage, lists.evaluation, ".parquet") if lists.evaluation else ():
        items = pq.read_table(pa.BufferReader(content))
        for name in {"text", "url", "sha256"} & set(items.column_names):
            for value in filter(None, items[name].to_pylist()):
                if name == "text":
                    yield from phrases(fold(repair(value)), lists.evaluation_words)
                elif name == "sha256":
                    yield hash64(value.lower().encode())
                elif normal := normal_url(value):
                    yield hash64(normal[1].encode())


def _lines(storage: Storage, name: str | None) -> Iterator[str]:
    for content in _files(storage, name) if name else ():
        entries = (line.partition("#")[0].strip() for line in content.decode("utf-8").splitlines())
        yield from filter(None, entries)


def _files(storage: Storage, name: str, ending: str = "") -> list[bytes]:
    shipped = resource(name)  # an absolute name stays what it is
    if shipped.is_file():
        return [shipped.read_bytes()]
    paths = sorted(e.path for e in storage.entries(name) if e.path.endswith(ending)) or [name]
    try:
        return [storage.read(path) for path in paths]
    except OSError as error:
        raise BadConfig(
            f"The list {name} is not in {storage.root}. Put it there, or set its ingest.lists to null."
        ) from error
