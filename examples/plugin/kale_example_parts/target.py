"""A release target: one zip archive, replaced as a whole."""

import hashlib
import os
import zipfile
from pathlib import Path

from kale_tasks.errors import BadConfig, Conflict
from kale_tasks.progress import Progress
from kale_tasks.release.targets.base import (
    MANIFEST,
    README,
    Current,
    Publication,
    Removal,
    Target,
    local_file,
    manifest_of,
    require_none,
)
from kale_tasks.settings.model import Settings


class ZipTarget(Target):
    """The archive at `zip:///folder/name.zip`. A rename replaces it, so readers see one release or the other."""

    def __init__(self, address: str, settings: Settings) -> None:
        self.address, self.path = address, Path(address.partition("://")[2])
        if self.path.suffix != ".zip":
            raise BadConfig(f"publish.target '{address}' must end in .zip, such as zip:///data/release.zip.")

    def current(self) -> Current:
        """Return the release in the archive, if there is one."""
        if not self.path.exists():
            return Current()
        with zipfile.ZipFile(self.path) as archive:
            manifest, readme = archive.read(MANIFEST), archive.read(README).decode()
        return Current(hashlib.sha256(manifest).hexdigest(), manifest_of(manifest), readme)

    def publish(self, publication: Publication, base: Current, progress: Progress) -> str:
        """Write the archive beside the old one and put it in its place."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        progress.begin(f"publish {publication.version}", len(publication.files), "files")
        with zipfile.ZipFile(new, "w", zipfile.ZIP_STORED) as archive:
            for name, page in publication.pages.items():
                archive.writestr(name, page)
            for file in publication.files:
                with local_file(publication.storage, file) as path:
                    archive.write(path, file.name)
                progress.advance(1)
        if self.current().state != base.state:
            raise Conflict(f"Another release was published to {self.address}. Publish again.")
        os.replace(new, self.path)
        return self.address

    def forget(self, removal: Removal) -> list[str]:
        """Check that the archive has none of these files; it keeps no older release."""
        require_none(removal, self.current(), self.address)
        return []
