"""What a repository of the Hub keeps: commits, tags and the bytes of large files."""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

LARGE = (".parquet", ".tar", ".safetensors", ".jpg", ".png", ".webp", ".gif")  # as .gitattributes of the Hub


@dataclass(frozen=True)
class Blob:
    """A file of a commit: small ones bring their bytes, large ones name them by their SHA-256."""

    size: int
    small: bytes | None = None
    sha256: str | None = None

    @property
    def oid(self) -> str:
        if self.small is None:
            pointer = (
                f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n".encode()
            )
            return hashlib.sha1(b"blob %d\0" % len(pointer) + pointer).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.small) + self.small).hexdigest()


@dataclass(frozen=True)
class Commit:
    """A state of all files, and who put it there."""

    oid: str
    title: str
    message: str
    files: Mapping[str, Blob]
    date: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"))


class ParentMoved(Exception):
    """The commit was built on another head."""


class Repo:
    """One repository with one branch."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.lock = folder, Lock()
        self.commits: list[Commit] = []
        self.requests: dict[str, list[Commit]] = {}  # of each pull request, the commit that it began from first
        self.tags: dict[str, str] = {}
        self.settings: dict[str, Any] = {"private": False, "gated": False}
        self.commit("initial commit", "", {".gitattributes": Blob(9, b"*.parquet")}, ())

    @property
    def head(self) -> Commit:
        return self.commits[-1]

    def at(self, revision: str) -> Commit | None:
        if revision in self.requests:
            return self.requests[revision][-1]
        if revision in ("main", "HEAD", "refs/heads/main"):
            return self.head
        oid = self.tags.get(revision, revision)
        return next((c for c in self.commits if c.oid == oid), None)

    def commit(
        self,
        title: str,
        message: str,
        added: Mapping[str, Blob],
        deleted: Iterable[str],
        parent: str | None = None,
        revision: str = "main",
    ) -> Commit:
        """Add a commit, all of it or nothing."""
        with self.lock:
            branch = self.requests.get(revision, self.commits)
            if parent is not None and parent != branch[-1].oid:
                raise ParentMoved
            before, gone = (branch[-1].files if branch else {}), set(deleted)
            files = {n: b for n, b in before.items() if n not in gone} | dict(added)
            parent = branch[-1].oid if branch else ""
            change = [parent, title, message, sorted(gone), sorted((n, b.oid) for n, b in added.items())]
            text = json.dumps([revision, len(branch), *change])
            made = Commit(hashlib.sha1(text.encode()).hexdigest(), title, message, files)
            if branch is self.commits:
                self.commits = [*self.commits, made]
            else:
                branch.append(made)
            return made

    def request_pull(self, lines: Iterable[dict[str, Any]]) -> tuple[str, Commit]:
        """Open a pull request with a first commit; returns its revision."""
        revision = f"refs/pr/{len(self.requests) + 1}"
        self.requests[revision] = [self.head]
        return revision, self.commit_lines(lines, revision)

    def merge(self, revision: str) -> Commit:
        """Squash a pull request into one commit of the main branch."""
        base, *made = self.requests[revision]
        after = made[-1].files
        message = "".join(f"- {commit.title} ({commit.oid})\n" for commit in made)
        gone = [name for name in base.files if name not in after]
        added = {name: blob for name, blob in after.items() if base.files.get(name) != blob}
        number = revision.rpartition("/")[2]
        return self.commit(f"{made[0].title} (#{number})", message, added, gone)

    def commit_lines(self, lines: Iterable[dict[str, Any]], revision: str = "main") -> Commit:
        """Add a commit as the Hub's API spells it; a large file must have been uploaded."""
        added: dict[str, Blob] = {}
        deleted, header = [], {}
        for line in lines:
            value = line["value"]
            match line["key"]:
                case "header":
                    header = value
                case "file":
                    data = base64.b64decode(value["content"])
                    added[value["path"]] = Blob(len(data), data)
                case "lfsFile":
                    if not self.large(value["oid"]).exists():
                        raise KeyError(value["path"])
                    added[value["path"]] = Blob(value["size"], None, value["oid"])
                case "deletedFile":
                    deleted.append(value["path"])
        parent = header.get("parentCommit")
        return self.commit(header["summary"], header["description"], added, deleted, parent, revision)

    def large(self, sha256: str) -> Path:
        """Return where the bytes of a large file are stored."""
        return self.folder / sha256

    def read(self, blob: Blob) -> bytes:
        return blob.small if blob.small is not None else self.large(str(blob.sha256)).read_bytes()

    def forget(self, oids: set[str]) -> None:
        """Take large files out of every commit and delete their bytes."""
        with self.lock:
            self.commits = [
                Commit(c.oid, c.title, c.message, {n: b for n, b in c.files.items() if b.sha256 not in oids}, c.date)
                for c in self.commits
            ]
            for oid in oids:
                self.large(oid).unlink(missing_ok=True)
