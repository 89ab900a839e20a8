"""Releases in a folder or an object store: one folder for each, and a pointer that is swapped last."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml
from tenacity import RetryError, Retrying, retry_if_result, stop_after_attempt, wait_incrementing

from kale_tasks.errors import Conflict, Transient
from kale_tasks.lake.maintain import half_written
from kale_tasks.lake.storage.open import open_place
from kale_tasks.progress import Progress
from kale_tasks.release.targets.base import (
    MANIFEST,
    README,
    Current,
    Publication,
    Published,
    Removal,
    Target,
    manifest_of,
    require_none,
)
from kale_tasks.release.targets.checked import checked_blocks
from kale_tasks.settings.model import Settings

LATEST = "latest.json"
_SWAP_TRIES = 5


class Store(Target):
    """A folder, or a prefix of an object store. Its `latest.json` names the folder of the newest release."""

    def __init__(self, address: str, settings: Settings) -> None:
        self.url = address.rstrip("/")
        self._storage = open_place(self.url, settings.s3)
        self._workers = settings.publish.upload_workers

    def current(self) -> Current:
        state = self._storage.tag(LATEST)
        if state is None:
            return Current()
        version = self._pointer()["version"]
        if self._storage.tag(LATEST) != state:
            return self.current()
        manifest = manifest_of(self._storage.read(f"{version}/{MANIFEST}"))
        return Current(state, manifest, self._storage.read(f"{version}/{README}").decode())

    def publish(self, publication: Publication, base: Current, progress: Progress) -> str:
        version = publication.version
        present = {entry.path: entry.size for entry in self._storage.entries(version)}
        missing = [f for f in publication.files if present.get(f"{version}/{f.name}") != f.bytes]

        def put(file: Published) -> Published:
            if base.names.get(file.name) == file.sha256:
                self._storage.copy(f"{base.version}/{file.name}", f"{version}/{file.name}")
            else:
                self._storage.put(f"{version}/{file.name}", checked_blocks(publication.storage, file))
            return file

        progress.begin(f"publish {version}", len(publication.files), "files")
        progress.advance(len(publication.files) - len(missing), resumed=True)
        with ThreadPoolExecutor(self._workers) as pool:
            for file in pool.map(put, missing):
                progress.advance(1, bytes=file.bytes)
        for name, page in publication.pages.items():
            self._storage.put(f"{version}/{name}", page)
        if base.version != version:
            self._swap_pointer(version, base)
        self._show(version)
        return f"{self.url}/{version}"

    def forget(self, removal: Removal) -> list[str]:
        current = self.current()
        require_none(removal, current, self.url)
        return [
            self._delete(version)
            for version, manifest in self._releases().items()
            if version != current.version
            and any(removal.concerns(file["name"], file["sha256"]) for file in manifest["files"])
        ]

    def history(self) -> Sequence[str]:
        if self._storage.tag(LATEST) is None:
            return []
        known = self._pointer()
        published = known.get("published", [known["version"]])
        return [version for version in published if self._storage.exists(f"{version}/{MANIFEST}")]

    def expire(self, keep: int, *, dry_run: bool = False) -> Sequence[str]:
        older = [version for version in self.history() if version != self._pointer()["version"]]
        old = older[: max(0, len(older) - keep)]
        if not dry_run:
            self._delete_unfinished()
        return [f"{self.url}/{version}" if dry_run else self._delete(version) for version in old]

    def _delete(self, version: str) -> str:
        self._storage.delete(f"{version}/{MANIFEST}")  # first: without it nobody takes the rest for a release
        for entry in list(self._storage.entries(version)):
            self._storage.delete(entry.path)
        return f"{self.url}/{version}"

    def _delete_unfinished(self) -> None:
        """Delete what publications that were killed had begun to write; after a day nobody goes on with it."""
        before = datetime.now(UTC) - timedelta(days=1)
        for entry in list(self._storage.entries("")):
            if half_written(entry.path) and entry.modified < before:
                self._storage.delete(entry.path)

    def _pointer(self) -> dict[str, Any]:
        return dict(json.loads(self._storage.read(LATEST)))

    def _show(self, version: str) -> None:
        """Put the card beside the pointer, so that `load_dataset` reads the newest release from here."""
        readme = self._storage.read(f"{version}/{README}")
        self._storage.put(README, at_root(readme, version))
        # Whoever swapped the pointer meanwhile may have put its card before this one.
        if (now := self._pointer()["version"]) != version:
            self._show(now)

    def _swap_pointer(self, version: str, base: Current) -> None:
        published = list(dict.fromkeys([*self.history(), version]))
        pointer = json.dumps({"version": version, "published": published}).encode()

        def swap() -> bool:
            if self._storage.put_if(LATEST, pointer, base.state):
                return True
            now = self.current()
            if now.version != version and now.state != base.state:
                raise Conflict(
                    f"Another release was published in {self.url} meanwhile. Nothing was overwritten: publish again."
                )
            return now.version == version  # refused although nothing changed: our earlier request is still in flight

        retrying = Retrying(
            stop=stop_after_attempt(_SWAP_TRIES),
            wait=wait_incrementing(1, 1),
            retry=retry_if_result(lambda done: not done),
        )
        try:
            retrying(swap)
        except RetryError as error:
            raise Transient(
                f"{self.url} does not accept the pointer to {version}. Publish again later: the files are kept."
            ) from error

    def _releases(self) -> dict[str, dict[str, Any]]:
        found = (
            e.path for e in self._storage.entries("") if e.path.count("/") == 1 and e.path.endswith(f"/{MANIFEST}")
        )
        return {path.split("/")[0]: manifest_of(self._storage.read(path)) for path in found}


def at_root(readme: bytes, version: str) -> bytes:
    """Return the card of a release as it must be in the folder above: its paths begin with that of the release."""
    _, front, text = readme.decode().split("---\n", 2)
    known = yaml.safe_load(front)
    for files in (files for config in known.get("configs", ()) for files in config["data_files"]):
        files["path"] = [f"{version}/{path}" for path in files["path"]]
    metadata = yaml.safe_dump(known, sort_keys=False, allow_unicode=True)
    for before in ("](", 'src="'):
        text = text.replace(f"{before}pictures/", f"{before}{version}/pictures/")
    return f"---\n{metadata}---\n{text}".encode()
