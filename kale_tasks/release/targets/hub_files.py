"""Files of a release as the client of the Hub takes them: as paths for Xet, else as what it reads once to send it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

import httpx2
from huggingface_hub import CommitOperationAdd
from huggingface_hub.lfs import UploadInfo
from huggingface_hub.utils import get_session
from huggingface_hub.utils._runtime import is_xet_available

from kale_tasks.lake.storage.base import Storage
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.release.targets.checked import PIECE, CheckedFile, Published, damaged, local_file
from kale_tasks.threads import map_ahead

_SMALL = 10_000_000
_SAMPLE = 512  # bytes by which the Hub tells text from data


@contextmanager
def additions(storage: Storage, files: Sequence[Published], threads: int) -> Iterator[list[CommitOperationAdd]]:
    """Context manager: the files as operations of a commit, to be uploaded before it ends."""
    _send_large_pieces()
    with ExitStack() as stack:
        opened = partial(_for_xet, stack) if is_xet_available() else _for_lfs
        yield list(map_ahead(partial(opened, storage), files, threads))


def _for_lfs(storage: Storage, file: Published) -> CommitOperationAdd:
    """Return a file to send under the hash that was recorded: what is read and sent is hashed only once."""
    source = CheckedFile(storage, file)
    add = CommitOperationAdd(file.name, b"")
    add.upload_info = UploadInfo(file.bytes, source.sample(_SAMPLE), bytes.fromhex(file.sha256))
    add.path_or_fileobj = cast(BinaryIO, source)  # set later, because the client hashes what it is made of
    return add


def _for_xet(stack: ExitStack, storage: Storage, file: Published) -> CommitOperationAdd:
    """Return a file for hf-xet, which reads paths only and hashes what it sends."""
    path = stack.enter_context(_path(storage, file))
    # Small files may become part of the commit itself, so they must outlive a downloaded copy.
    copied = not isinstance(storage, FolderStorage)
    return CommitOperationAdd(file.name, path.read_bytes() if copied and file.bytes < _SMALL else path)


@contextmanager
def _path(storage: Storage, file: Published) -> Iterator[Path]:
    """Context manager: a file as a local path. One of a folder is not read here."""
    if not isinstance(storage, FolderStorage):
        with local_file(storage, file) as path:
            yield path
        return
    path = Path(storage.root, file.path)
    if not path.exists():
        raise damaged(file, "is missing")
    if (size := path.stat().st_size) != file.bytes:
        raise damaged(file, f"has {size} bytes instead of {file.bytes}")
    yield path


def _send_large_pieces() -> None:
    """Let the client send files in larger pieces than the 64 kB that it reads, as each piece has a cost of its own."""
    hooks = get_session().event_hooks["request"]
    if _enlarge not in hooks:
        hooks.append(_enlarge)


def _enlarge(request: httpx2.Request) -> None:
    if request.method == "PUT" and hasattr(request.stream, "CHUNK_SIZE"):
        request.stream.CHUNK_SIZE = PIECE
