"""Where releases go: what a folder, an S3 prefix and the Hub have in common."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kale_tasks.errors import Conflict
from kale_tasks.lake.storage.base import Storage
from kale_tasks.progress import Progress
from kale_tasks.release.targets.checked import Published, local_file
from kale_tasks.settings.model import Settings

__all__ = [  # the API of targets, also for plug-ins
    "MANIFEST", "README", "Current", "Publication", "Published", "Removal", "Target", "local_file", "manifest_of",
    "require_none",
]  # fmt: skip
MANIFEST, README = "manifest.json", "README.md"


@dataclass(frozen=True)
class Publication:
    """A release to publish: its files, which are in the warehouse, and its pages."""

    version: str
    storage: Storage
    files: Sequence[Published]
    pages: Mapping[str, bytes]


@dataclass(frozen=True)
class Current:
    """What readers of a target see now; `state` changes with every publication, whoever makes it."""

    state: str | None = None
    manifest: Mapping[str, Any] = field(default_factory=dict)
    readme: str = ""

    @property
    def version(self) -> str | None:
        """The published release; None if there is none."""
        return self.manifest.get("version")

    @property
    def names(self) -> Mapping[str, str]:
        """The SHA-256 of each published file, by name."""
        return {file["name"]: file["sha256"] for file in self.manifest.get("files", ())}

    @property
    def ours(self) -> set[str]:
        """Every published file and page, which is what the next release may remove."""
        return {*self.names, *self.manifest.get("pages", ())}


@dataclass(frozen=True)
class Removal:
    """What a takedown takes out of older releases, by the SHA-256 of their files."""

    removed: set[str]  # files with a row that was taken down
    known: set[str]  # every file of the releases that the lake still has
    keys: set[str]  # keys that lost a row

    def concerns(self, name: str, sha256: str) -> bool:
        """Whether a published file has such a row, or may have one: nobody knows any more what is in it."""
        if sha256 in self.known:
            return sha256 in self.removed
        begins = tuple(f"{key}-" for key in self.keys)
        return any(part in self.keys or part.startswith(begins) for part in name.split("/"))


class Target(ABC):
    """A place for releases. Readers see the old release or the new one, even while one is published.

    Subclasses are registered as `kale.targets` by the scheme of their addresses.
    """

    @abstractmethod
    def __init__(self, address: str, settings: Settings) -> None:
        """Open the target; BadConfig if the address is not valid."""

    @abstractmethod
    def current(self) -> Current:
        """Return what is published now."""

    @abstractmethod
    def publish(self, publication: Publication, base: Current, progress: Progress) -> str:
        """Replace `base` by a release and return its address; Conflict if something else is published by now."""

    @abstractmethod
    def forget(self, removal: Removal) -> list[str]:
        """Delete the files that a removal concerns from every older release; Conflict if the current one has any.

        Returns the addresses of what was deleted.
        """

    def history(self) -> Sequence[str]:
        """Return the releases that were published here, in the order of their first publication."""
        return []

    def expire(self, keep: int, *, dry_run: bool = False) -> Sequence[str]:
        """Delete all but the latest older releases, if the place keeps them; returns their addresses."""
        return []


def require_none(removal: Removal, current: Current, place: str) -> None:
    """Raise Conflict if a removal concerns the release that readers see."""
    if any(removal.concerns(name, sha256) for name, sha256 in current.names.items()):
        raise Conflict(
            f"The newest release in {place} still contains rows that were taken down. Release and publish first."
        )


def manifest_of(text: bytes | None) -> dict[str, Any]:
    """Parse a published manifest; empty if there is none."""
    return json.loads(text) if text else {}
