"""A folder of files that others deliver: links to folders lead to files of it too."""

import os
from collections.abc import Iterator
from pathlib import Path

from kale_tasks.lake.storage.folder import FolderStorage


class LinkedFolderStorage(FolderStorage):
    """A folder in which links to folders are followed, as links to files are. Nothing may be deleted by its listing.

    A folder counts once below each top folder, by its real path. A link to a folder that contains it, or that contains
    the whole storage, is not followed: it would never end, or bring the files of all top folders into one.
    """

    def _folders(self, top: Path) -> Iterator[tuple[str, list[str]]]:
        if top == Path(self.root):
            for _, folders, names in os.walk(top):
                yield self.root, names
                for name in sorted(folders):
                    yield from self._folders(top / name)
                return
        elif not _contains(top, self.root):
            yield from _followed(top)


def _followed(top: Path) -> Iterator[tuple[str, list[str]]]:
    seen: set[str] = set()
    waiting = [top]
    for start in waiting:  # links found on the way join the end, so that a folder is found at its own place first
        for folder, folders, names in os.walk(start):
            if (real := os.path.realpath(folder)) in seen:
                folders.clear()
                continue
            seen.add(real)
            yield folder, names
            folders.sort()
            links = [Path(folder, name) for name in folders if os.path.islink(Path(folder, name))]
            waiting += [link for link in links if not _contains(link, folder) and not _contains(link, top)]


def _contains(link: str | Path, folder: str | Path) -> bool:
    return Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(link))
