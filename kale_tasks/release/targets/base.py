"""Where releases go: what a folder, an S3 prefix and the Hub have in common."""

import json
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from kale_tasks.errors import BadData
from kale_tasks.lake.storage.base import Storage
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.progress import Progress
from kale_tasks.settings.model import Settings

MANIFEST, README = "manifest.json", "README.md"
_BLOCK = 1 << 26


class Published(Protocol):
    """A file to publish: where it stands in the warehouse and what it is called outside."""

    @property
    def path(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def bytes(self) -> int: ...

    @property
    def sha256(self) -> str: ...


@dataclass(frozen=True)
class Publication:
    """All of a release: its files, still in the warehouse, and the pages made for it."""

    version: str
    storage: Storage
    files: Sequence[Published]
    pages: Mapping[str, bytes]


@dataclass(frozen=True)
class Current:
    """What a reader of a target sees now; `state` changes with everything that anyone publishes there."""

    state: str | None = None
    manifest: Mapping[str, Any] = field(default_factory=dict)
    readme: str = ""

    @property
    def version(self) -> str | None:
        """The release that a reader sees."""
        return self.manifest.get("version")

    @property
    def names(self) -> Mapping[str, str]:
        """The SHA-256 of each of its files, by name."""
        return {file["name"]: file["sha256"] for file in self.manifest.get("files", ())}


class Target(ABC):
    """A place for releases. A reader finds the old release or the new one, whatever happens in between."""

    @abstractmethod
    def current(self) -> Current:
        """What stands there now."""

    @abstractmethod
    def publish(self, publication: Publication, base: Current, progress: Progress) -> str:
        """Put a release where `base` stands and answer with its address; Conflict when something else stands there."""

    @abstractmethod
    def forget(self, doomed: set[str]) -> list[str]:
        """Remove every older release's hold on files with these SHA-256; Conflict when the newest release has one."""


def open_target(url: str, settings: Settings) -> Target:
    """The target of an address."""
    if url.startswith("hf://"):
        from kale_tasks.release.targets.hub import Hub

        return Hub(url, settings.publish.upload_workers)
    from kale_tasks.release.targets.store import Store

    return Store(url, settings)


def manifest_of(text: bytes | None) -> dict[str, Any]:
    """A manifest as it was published; empty when there is none."""
    return json.loads(text) if text else {}


@contextmanager
def local(storage: Storage, file: Published) -> Iterator[Path]:
    """A file of the warehouse as a file of this machine, fetched only if it has to be."""
    if isinstance(storage, FolderStorage):
        path = Path(storage.root, file.path)
        _check_size(file, path.stat().st_size if path.exists() else 0)
        yield path
        return
    with tempfile.NamedTemporaryFile() as copy:
        for offset in range(0, file.bytes, _BLOCK):
            copy.write(storage.read(file.path, offset, min(_BLOCK, file.bytes - offset)))
        copy.flush()
        _check_size(file, copy.tell())
        yield Path(copy.name)


def _check_size(file: Published, size: int) -> None:
    if size != file.bytes:
        raise BadData(f"{file.path} is not as it was written. Delete it and run the release again: it is made anew.")
