"""Releases on the Hugging Face Hub: files are uploaded first, then one commit makes them all visible."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import disable_progress_bars, parse_ratelimit_headers
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from kale_tasks.errors import BadConfig, BadData, Conflict, KaleError, Transient
from kale_tasks.progress import Progress
from kale_tasks.release.targets.base import (
    MANIFEST,
    README,
    Current,
    Publication,
    Published,
    Target,
    local_file,
    manifest_of,
)
from kale_tasks.settings.model import Settings

_T = TypeVar("_T")
_TRIES = 6
_LONGEST_WAIT = 900  # seconds; a longer rate limit is left to the scheduler
_TRAILER = "KALE-Release: "
_GROUP = 50
_SMALL = 10_000_000


class Hub(Target):
    """A repository, hf://datasets/name/dataset or hf://name/model; HF_TOKEN gives access."""

    def __init__(self, address: str, settings: Settings) -> None:
        path = address.removeprefix("hf://").strip("/")
        self._type = "dataset" if path.startswith("datasets/") else "model"
        self._repo = path.removeprefix("datasets/")
        if self._repo.count("/") != 1:
            raise BadConfig(
                f"Not a valid Hub repository: '{address}'. Use hf://datasets/name/dataset or hf://name/model."
            )
        self._workers = settings.publish.upload_workers
        self._api = HfApi()
        disable_progress_bars()

    def current(self) -> Current:
        with _explained(self._repo):
            try:
                state = self._head()
            except RepositoryNotFoundError as error:
                if error.response.status_code != 404:
                    raise
                return Current()
            readme = self._read(README, state) or b""
            return Current(state, manifest_of(self._read(MANIFEST, state)), readme.decode())

    def publish(self, publication: Publication, base: Current, progress: Progress) -> str:
        with _explained(self._repo):
            parent = base.state or self._create()
            present = self._files(parent)
            files = [file for file in publication.files if present.get(file.name) != file.sha256]
            progress.begin(f"publish {publication.version}", len(publication.files), "files")
            progress.advance(len(publication.files) - len(files), resumed=True)
            operations: list[Any] = [
                op for group in _groups(files) for op in self._upload(publication, group, progress)
            ]
            operations += [CommitOperationAdd(name, page) for name, page in publication.pages.items()]
            kept = {file.name for file in publication.files} | set(publication.pages)
            # Only files of earlier releases are removed: what people added stays.
            operations += [CommitOperationDelete(name) for name in base.names if name in present and name not in kept]
            commit = self._commit(operations, publication.version, parent)
            _retrying(lambda: self._api.create_tag(
                self._repo, tag=publication.version, revision=commit, repo_type=self._type, exist_ok=True
            ))  # fmt: skip
            return f"{self._api.endpoint}/{'datasets/' if self._type == 'dataset' else ''}{self._repo}/tree/{commit}"

    def forget(self, removed: set[str]) -> list[str]:
        with _explained(self._repo):
            current = self.current()
            if not removed.isdisjoint(current.names.values()):
                raise Conflict(
                    f"The newest release in {self._repo} still contains rows that were taken down. "
                    f"Release and publish first."
                )
            stored = [f for f in self._api.list_lfs_files(self._repo, repo_type=self._type) if f.file_oid in removed]
            if stored:
                self._api.permanently_delete_lfs_files(self._repo, stored, repo_type=self._type)
            return [f"hf://{self._repo}/{file.filename}" for file in stored]

    def _upload(
        self, publication: Publication, group: Sequence[Published], progress: Progress
    ) -> list[CommitOperationAdd]:
        # The Hub does not ask for bytes that it already has, such as those of a killed run.
        with ExitStack() as stack:
            paths = [stack.enter_context(local_file(publication.storage, file)) for file in group]
            adds = [
                # Small files may become part of the commit itself, so they must outlive a downloaded copy.
                CommitOperationAdd(file.name, path.read_bytes() if file.bytes < _SMALL else path)
                for file, path in zip(group, paths, strict=True)
            ]
            self._api.preupload_lfs_files(self._repo, adds, repo_type=self._type, num_threads=self._workers)
            for file, add in zip(group, adds, strict=True):
                if add.upload_info.sha256.hex() != file.sha256:
                    raise BadData(
                        f"{file.path} is damaged. Delete it and run release with --again: it is written again."
                    )
                progress.advance(1, bytes=file.bytes)
            return adds

    def _commit(self, operations: Sequence[Any], version: str, parent: str) -> str:
        def commit() -> str:
            try:
                return str(self._api.create_commit(
                    self._repo, operations, commit_message=f"Release {version}", repo_type=self._type,
                    commit_description=f"{_TRAILER}{version}", parent_commit=parent, num_threads=self._workers,
                ).oid)  # fmt: skip
            except (HfHubHTTPError, httpx2.TransportError):
                # The commit may have landed although the answer was an error: look before trying again.
                if landed := _retrying(lambda: self._landed(version, parent)):
                    return landed
                raise

        return _retrying(commit)

    def _landed(self, version: str, parent: str) -> str | None:
        """Return our commit if it is among those made since `parent`; Conflict if there are others."""
        since = []
        for commit in self._api.list_repo_commits(self._repo, repo_type=self._type):
            if commit.commit_id == parent:
                break
            since.append(commit)
            if f"{_TRAILER}{version}" in commit.message:
                return commit.commit_id
        if since:
            raise Conflict(
                f"Another commit was made to {self._repo} meanwhile: '{since[0].title[:60]}'. Nothing was overwritten. "
                f"Look at it, then publish again; uploads are kept."
            )
        return None

    def _create(self) -> str:
        _retrying(lambda: self._api.create_repo(self._repo, repo_type=self._type, exist_ok=True))
        return self._head()

    def _head(self) -> str:
        return str(_retrying(lambda: self._api.repo_info(self._repo, repo_type=self._type)).sha)

    def _files(self, revision: str) -> dict[str, str]:
        tree = self._api.list_repo_tree(self._repo, recursive=True, revision=revision, repo_type=self._type)
        return {f.path: f.lfs.sha256 if f.lfs else f.blob_id for f in tree if isinstance(f, RepoFile)}

    def _read(self, name: str, revision: str) -> bytes | None:
        with tempfile.TemporaryDirectory() as folder:
            try:
                return Path(self._api.hf_hub_download(
                    self._repo, name, repo_type=self._type, revision=revision, local_dir=folder
                )).read_bytes()  # fmt: skip
            except RemoteEntryNotFoundError:
                return None
            except LocalEntryNotFoundError as error:
                raise Transient(f"No answer from the Hub for {self._repo}. Try again later.") from error


def _groups(files: Sequence[Published]) -> Iterator[list[Published]]:
    rest = iter(files)
    while group := list(islice(rest, _GROUP)):
        yield group


def _retrying(request: Callable[[], _T]) -> _T:
    """Send a request again while its failure is temporary, waiting as long as the Hub asks for."""
    attempts = Retrying(
        stop=stop_after_attempt(_TRIES), wait=_pause, retry=retry_if_exception(_is_temporary), reraise=True
    )
    return attempts(request)


def _is_temporary(error: BaseException) -> bool:
    if not isinstance(error, (HfHubHTTPError, httpx2.TransportError)):
        return False
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else 503
    return status in (408, 429) or status >= 500


def _pause(state: RetryCallState) -> float:
    """Return the seconds until the next attempt; Transient if the rate limit lasts longer than we wait."""
    error = state.outcome.exception() if state.outcome else None
    if not isinstance(error, HfHubHTTPError) or error.response.status_code != 429:
        return float(2 ** (state.attempt_number - 1))
    limit = parse_ratelimit_headers(error.response.headers)
    after = error.response.headers.get("retry-after", "")
    seconds = limit.reset_in_seconds if limit else float(after) if after.isdigit() else 60.0
    if seconds > _LONGEST_WAIT:
        raise Transient(
            f"The Hub's rate limit ends in {seconds:.0f} s. Publish again then: uploads are kept."
        ) from error
    return seconds


@contextmanager
def _explained(repo: str) -> Iterator[None]:
    """Context manager: turn errors of the Hub into errors that say what to do."""
    try:
        yield
    except (HfHubHTTPError, httpx2.TransportError, RuntimeError) as error:
        cause = error.__cause__ if isinstance(error.__cause__, (HfHubHTTPError, httpx2.TransportError)) else error
        if not isinstance(cause, (HfHubHTTPError, httpx2.TransportError)):
            raise
        raise _explanation(repo, cause) from error


def _explanation(repo: str, error: Exception) -> KaleError:
    if not isinstance(error, HfHubHTTPError):
        return Transient(f"No answer from the Hub ({type(error).__name__}). Publish again later: uploads are kept.")
    status = error.response.status_code
    if status in (401, 403):
        return BadConfig(f"The Hub refuses this token for {repo} ({status}). Set a valid HF_TOKEN and publish again.")
    if _is_temporary(error):
        return Transient(f"The Hub answered {status} for {repo}. Publish again later: uploads are kept.")
    return BadConfig(f"The Hub answered {status} for {repo}: {str(error).splitlines()[0][:200]}")
