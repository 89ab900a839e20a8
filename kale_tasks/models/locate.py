"""Finds model files by name: a folder, `repo@revision` on the Hub, or `source:name` of a registered model source.

`server:name` is a model of which only the name is known that a server gives it: it has no files here.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from kale_tasks.errors import BadConfig, Transient
from kale_tasks.registry import Registry

_FILES = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"]
_REVISION = re.compile(r"[0-9a-f]{40}")
SERVED = "server:"
_SOURCE = re.compile(r"([a-z][a-z0-9_-]+):([^/\\].*)")


class ModelSource(Protocol):
    """Provides models and prompts that recipes name as `source:name`, where `source` is the registered name."""

    def names(self) -> Sequence[str]:
        """List the models that are available, without the prefix."""

    def locate(self, name: str) -> Path:
        """Return the folder of a model; it need not exist."""

    def prompt(self, name: str) -> Mapping[str, Any]:
        """Return the fields of a recipe's `prompt`; BadConfig if there is no prompt of that name."""


MODEL_SOURCES: Registry[type[ModelSource]] = Registry("model source", "kale.models", {})


def split_source(name: str) -> tuple[ModelSource, str] | None:
    """Split `source:name` into the source and the name; None if there is no prefix, BadConfig if it is unknown."""
    match = _SOURCE.fullmatch(name)
    return (MODEL_SOURCES.find(match[1])(), match[2]) if match else None


def locate(name: str) -> Path:
    """Return the folder of a model, downloading it from the Hub if needed. Only safe file types are downloaded."""
    if name.startswith(SERVED):
        raise BadConfig(f"'{name}' has no files here: it is served elsewhere. Set caption.engine=openai.")
    repo, at, revision = name.partition("@")
    if at:
        return _from_hub(repo, revision)
    sourced = split_source(name)
    folder = sourced[0].locate(sourced[1]) if sourced else Path(name)
    if not (folder / "config.json").exists():
        raise BadConfig(
            f"There is no model '{name}': {folder} has no config.json. Use a folder, repo@revision with all 40 digits "
            f"of the commit, or a name of a model source ({', '.join(MODEL_SOURCES.names) or 'none is installed'})."
        )
    return folder


def check_name(name: str) -> None:
    """Raise BadConfig if a name cannot be that of a model, without asking the Hub."""
    if name.startswith(SERVED):
        return
    if "@" in name:
        _check_revision(name)
        return
    sourced = split_source(name)
    if sourced and sourced[1] not in (known := sourced[0].names()):
        near = get_close_matches(sourced[1], known, n=1, cutoff=0.5)
        raise BadConfig(f"there is no model '{name}'{f'. Did you mean {near[0]!r}?' if near else ''}")
    if not sourced and not (Path(name) / "config.json").exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise BadConfig(f"'{name}' is not pinned. Write repo@revision with the 40 hex digits of a commit.")
    locate(name)


def pinned(name: str) -> str:
    """Return the model as name@revision, where the revision is the Hub commit or a hash of the folder's files.

    Of a model of a server nothing but its name is known.
    """
    if name.startswith(SERVED):
        return name
    if "@" in name:
        _check_revision(name)
        return name
    return f"{name if split_source(name) else Path(name).name}@{content(locate(name))}"


@cache
def content(folder: Path) -> str:
    """Hash the files of a model's folder that engines load; a model card or a training log changes nothing."""
    sink = hashlib.sha256()
    for file in sorted({path for pattern in _FILES for path in folder.glob(pattern) if path.is_file()}):
        with file.open("rb") as source:
            sink.update(f"{file.name} {hashlib.file_digest(source, 'sha256').hexdigest()}\n".encode())
    return sink.hexdigest()[:20]


def _from_hub(repo: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    _check_revision(f"{repo}@{revision}")
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=_FILES))
    except Exception as error:  # any network failure, or a missing model
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        if isinstance(error, (RepositoryNotFoundError, RevisionNotFoundError)):  # gated ones are among them
            raise BadConfig(f"{repo}@{revision} is not on the Hub, or HF_TOKEN may not read it: {first}") from error
        raise Transient(f"Cannot download {repo}@{revision} from the Hub: {first}") from error


def _check_revision(name: str) -> None:
    if not _REVISION.fullmatch(name.partition("@")[2]):
        raise BadConfig(f"'{name}' is not pinned. Write repo@revision with the 40 hex digits of a commit.")
