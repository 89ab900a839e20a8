"""Finds a model by its name: `sample:NAME` of the sample world, a folder, or `repo@revision` of the Hub."""

import hashlib
import re
from functools import cache
from pathlib import Path

from kale_tasks.errors import BadConfig, Transient
from kale_tasks.resources import package_file

_FILES = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"]
_REVISION = re.compile(r"[0-9a-f]{40}")


def locate(name: str) -> Path:
    """The folder of a model, fetched from the Hub if need be; no pickles and no code come along."""
    repo, at, revision = name.partition("@")
    if at:
        return _from_hub(repo, revision)
    folder = package_file(f"world/models/checkpoints/{name[7:]}") if name.startswith("sample:") else Path(name)
    if not (folder / "config.json").exists():
        raise BadConfig(f"'{name}' holds no model. Use sample:NAME, a folder, or repo@revision with all 40 digits.")
    return folder


def pinned(name: str) -> str:
    """A model as name@revision: the commit on the Hub, or a hash of the folder's files."""
    if "@" in name:
        _check_revision(name)
        return name
    return f"{name if name.startswith('sample:') else Path(name).name}@{content(locate(name))}"


@cache
def content(folder: Path) -> str:
    """A hash of every file in a model's folder."""
    sink = hashlib.sha256()
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        with file.open("rb") as source:
            sink.update(f"{file.name} {hashlib.file_digest(source, 'sha256').hexdigest()}\n".encode())
    return sink.hexdigest()[:20]


def _from_hub(repo: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download

    _check_revision(f"{repo}@{revision}")
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=_FILES))
    except Exception as error:  # every kind of network failure, and a model that is not there
        first = str(error).strip().splitlines()[0]
        raise Transient(f"{repo}@{revision} cannot be had from the Hub: {first}") from error


def _check_revision(name: str) -> None:
    if not _REVISION.fullmatch(name.partition("@")[2]):
        raise BadConfig(f"'{name}' is not pinned: write repo@revision with the 40 hex digits of a commit.")
