"""Releases in a folder or an S3 prefix: each in a folder of its own, and a pointer that is swapped last."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kale_tasks.errors import Conflict, Transient
from kale_tasks.lake.storage.open import open_storage
from kale_tasks.progress import Progress
from kale_tasks.release.targets.base import (
    MANIFEST,
    README,
    Current,
    Publication,
    Published,
    Target,
    local,
    manifest_of,
)
from kale_tasks.settings.model import Settings

LATEST = "latest.json"
_TRIES = 5


class Store(Target):
    """A folder or S3 prefix; `latest.json` there names the folder of the newest release."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.url = url.rstrip("/")
        self._storage = open_storage(self.url, settings.s3)
        self._workers = settings.publish.upload_workers

    def current(self) -> Current:
        state = self._storage.tag(LATEST)
        if state is None:
            return Current()
        version = json.loads(self._storage.read(LATEST))["version"]
        if self._storage.tag(LATEST) != state:
            return self.current()
        manifest = manifest_of(self._storage.read(f"{version}/{MANIFEST}"))
        return Current(state, manifest, self._storage.read(f"{version}/{README}").decode())

    def publish(self, publication: Publication, base: Current, progress: Progress) -> str:
        version = publication.version
        standing = {entry.path: entry.size for entry in self._storage.entries(version)}
        lacking = [f for f in publication.files if standing.get(f"{version}/{f.name}") != f.bytes]

        def put(file: Published) -> Published:
            if base.names.get(file.name) == file.sha256:
                self._storage.copy(f"{base.version}/{file.name}", f"{version}/{file.name}")
            else:
                with local(publication.storage, file) as path:
                    self._storage.put(f"{version}/{file.name}", path)
            return file

        progress.begin(f"publish {version}", len(publication.files), "files")
        progress.advance(len(publication.files) - len(lacking), resumed=True)
        with ThreadPoolExecutor(self._workers) as pool:
            for file in pool.map(put, lacking):
                progress.advance(1, bytes=file.bytes)
        for name, page in publication.pages.items():
            self._storage.put(f"{version}/{name}", page)
        if base.version != version:
            self._point(version, base)
        return f"{self.url}/{version}"

    def forget(self, doomed: set[str]) -> list[str]:
        current = self.current()
        if not doomed.isdisjoint(current.names.values()):
            raise Conflict(f"The newest release in {self.url} still holds what is to go. Release and publish first.")
        gone = []
        for version, manifest in self._releases().items():
            if version != current.version and any(f["sha256"] in doomed for f in manifest["files"]):
                for entry in list(self._storage.entries(version)):
                    self._storage.delete(entry.path)
                gone.append(f"{self.url}/{version}")
        return gone

    def _point(self, version: str, base: Current) -> None:
        pointer = json.dumps({"version": version}).encode()
        for attempt in range(_TRIES):
            if self._storage.put_if(LATEST, pointer, base.state):
                return
            now = self.current()
            if now.version == version:
                return
            if now.state != base.state:
                raise Conflict(f"Somebody published in {self.url} meanwhile. Nothing was overwritten: publish again.")
            time.sleep(attempt + 1)  # refused though nothing changed: an earlier try of ours is still under way
        raise Transient(f"{self.url} does not take the pointer to {version}. Publish again later: the files are kept.")

    def _releases(self) -> dict[str, dict[str, Any]]:
        found = (
            e.path for e in self._storage.entries("") if e.path.count("/") == 1 and e.path.endswith(f"/{MANIFEST}")
        )
        return {path.split("/")[0]: manifest_of(self._storage.read(path)) for path in found}
