"""Releases on the Hugging Face Hub: files are uploaded first, then one commit makes them all visible."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, Literal, TypeVar

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import build_hf_headers, disable_progress_bars, get_session, hf_raise_for_status

from kale_tasks.errors import BadConfig, Conflict, Transient
from kale_tasks.progress import Progress
from kale_tasks.release.samples import FOLDER as SAMPLES
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
from kale_tasks.release.targets.checked import damaged
from kale_tasks.release.targets.hub_errors import explained, retrying
from kale_tasks.release.targets.hub_files import additions
from kale_tasks.settings.model import Settings

_T = TypeVar("_T")
_TITLE, _TRAILER = "Release ", "KALE-Release: "
_GROUP, _GROUP_BYTES = 256, 5_000_000_000  # at most, in a group that is sent at once
_COMMIT, _FOLDER, _REPO = 100, 10_000, 100_000  # files that the Hub recommends at most, pages apart


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
        self._settings = settings.publish
        self._workers = settings.publish.upload_workers
        self._api = HfApi()
        self._listed: dict[str, dict[str, str]] = {}  # files by revision
        disable_progress_bars()

    def current(self) -> Current:
        with explained(self._repo):
            try:
                state = self._head()
            except RepositoryNotFoundError as error:
                if error.response.status_code != 404:
                    raise
                return Current()
            with ThreadPoolExecutor() as at_once:
                readme, manifest = (at_once.submit(self._read, name, state) for name in (README, MANIFEST))
                files = at_once.submit(self._list, state)
            self._listed = {state: files.result()}
            return Current(state, manifest_of(manifest.result()), (readme.result() or b"").decode())

    def publish(self, publication: Publication, base: Current, progress: Progress) -> str:
        with explained(self._repo):
            _require_fit(self._repo, [file.name for file in publication.files])
            parent = base.state or self._create()
            present = self._files(parent)
            files = [file for file in publication.files if present.get(file.name) != file.sha256]
            progress.begin(f"publish {publication.version}", len(publication.files), "files")
            progress.advance(len(publication.files) - len(files), resumed=True)
            pages = [CommitOperationAdd(name, page) for name, page in publication.pages.items()]
            operations: list[Any] = [
                op for group in _upload_groups(files) for op in self._upload(publication, group, pages, progress)
            ]
            operations += pages
            kept = {file.name for file in publication.files} | set(publication.pages)
            # Only files of earlier releases are removed: what people added stays.
            gone = sorted(name for name in base.ours if name in present and name not in kept)
            operations += map(CommitOperationDelete, gone)
            send = self._merge if len(operations) - len(pages) > _COMMIT else self._commit
            commit = send(operations, publication.version, parent)
            retrying(lambda: self._api.create_tag(
                self._repo, tag=publication.version, revision=commit, repo_type=self._type, exist_ok=True
            ))  # fmt: skip
            return f"{self._api.endpoint}/{'datasets/' if self._type == 'dataset' else ''}{self._repo}/tree/{commit}"

    def forget(self, removal: Removal) -> list[str]:
        with explained(self._repo):
            current = self.current()
            if current.state is None:
                return []
            require_none(removal, current, self._repo)
            shown = set(self._files(current.state).values())
            known = retrying(lambda: list(self._api.list_lfs_files(self._repo, repo_type=self._type)))
            # Which rows the pictures of older cards are of is not recorded, so all of them go.
            stored = [
                file
                for file in known
                if file.file_oid not in shown
                and (removal.concerns(file.filename, file.file_oid) or file.filename.startswith(SAMPLES))
            ]
            if stored:
                self._api.permanently_delete_lfs_files(self._repo, stored, repo_type=self._type)
            return [f"hf://{self._repo}/{file.filename}" for file in stored]

    def history(self) -> Sequence[str]:
        with explained(self._repo):
            commits = retrying(lambda: self._api.list_repo_commits(self._repo, repo_type=self._type))
            titles = (commit.title.partition(" (#")[0] for commit in reversed(commits))
            return list(dict.fromkeys(t.removeprefix(_TITLE) for t in titles if t.startswith(_TITLE)))

    def _upload(
        self,
        publication: Publication,
        group: Sequence[Published],
        pages: Sequence[CommitOperationAdd],
        progress: Progress,
    ) -> list[CommitOperationAdd]:
        # The Hub does not ask for bytes that it already has, such as those of a killed run.
        with additions(publication.storage, group, self._workers) as adds:
            # Pages are asked about here, once, because the commit would ask by a request of its own.
            self._api.preupload_lfs_files(self._repo, [*adds, *pages], repo_type=self._type, num_threads=self._workers)
            for file, add in zip(group, adds, strict=True):
                # Xet hashes what it sends, and the Hub compares that with what it receives.
                if (add.upload_info.size, add.upload_info.sha256.hex()) != (file.bytes, file.sha256):
                    raise damaged(file, "has other bytes than were written")
                progress.advance(1, bytes=file.bytes)
            return adds

    def _commit(self, operations: Sequence[Any], version: str, parent: str) -> str:
        made = self._once(lambda: self._commit_once(operations, version, parent_commit=parent).oid, version, parent)
        return str(made)

    def _once(self, request: Callable[[], Any], version: str, parent: str) -> Any:
        """Send a request that changes the main branch, until it has; Conflict if somebody else changes it."""

        def send() -> Any:
            try:
                return request()
            except (HfHubHTTPError, httpx2.TransportError):
                # The commit may have landed although the answer was an error: look before trying again.
                if landed := retrying(lambda: self._landed(version, parent)):
                    return landed
                raise

        return retrying(send)

    def _commit_once(self, operations: Sequence[Any], version: str, **more: Any) -> Any:
        return self._api.create_commit(
            self._repo, operations, commit_message=f"{_TITLE}{version}", repo_type=self._type,
            commit_description=f"{_TRAILER}{version}", num_threads=self._workers, **more,
        )  # fmt: skip

    def _merge(self, operations: Sequence[Any], version: str, parent: str) -> str:
        """Commit to a pull request, in groups, and merge it: readers of the main branch see one change."""
        first, *rest = _groups(operations, _COMMIT)
        made = retrying(lambda: self._commit_once(first, version, parent_commit=parent, create_pr=True))
        for group in rest:  # again if the answer is lost: the same files twice change nothing
            retrying(lambda group=group: self._commit_once(group, version, revision=made.pr_revision))  # type: ignore[misc]
        retrying(lambda: self._landed(version, parent))  # raises Conflict if somebody else has changed the main branch
        self._once(lambda: self._api.merge_pull_request(self._repo, made.pr_num, repo_type=self._type), version, parent)
        landed = retrying(lambda: self._landed(version, parent))
        if landed is None:
            raise Transient(f"The Hub has not merged {made.pr_url} yet. Publish again later: uploads are kept.")
        return str(landed)

    def _landed(self, version: str, parent: str) -> str | None:
        """Return our commit if it is among those made since `parent`; Conflict if there are others."""
        since = []
        for commit in self._api.list_repo_commits(self._repo, repo_type=self._type):
            if commit.commit_id == parent:
                break
            since.append(commit)
            # The Hub names the commit of a merge after the first commit of the pull request.
            if f"{_TRAILER}{version}" in commit.message or commit.title.startswith(f"{_TITLE}{version} (#"):
                return commit.commit_id
        if since:
            raise Conflict(
                f"Another commit was made to {self._repo} meanwhile: '{since[0].title[:60]}'. Nothing was overwritten. "
                f"Look at it, then publish again; uploads are kept."
            )
        return None

    def _create(self) -> str:
        of = self._settings
        # Private until readers must ask: who is killed in between leaves nothing open.
        hidden = of.private or of.gated != "no"
        retrying(lambda: self._api.create_repo(self._repo, repo_type=self._type, exist_ok=True, private=hidden))
        if of.gated != "no":
            gated: Literal["auto", "manual"] = of.gated
            retrying(lambda: self._api.update_repo_settings(
                self._repo, repo_type=self._type, gated=gated, private=of.private
            ))  # fmt: skip
        return self._head()

    def _head(self) -> str:
        return str(retrying(lambda: self._api.repo_info(self._repo, repo_type=self._type)).sha)

    def _files(self, revision: str) -> dict[str, str]:
        """Return the hash of each file of a revision: of a large one, the SHA-256."""
        known = self._listed.get(revision)
        return self._list(revision) if known is None else known

    def _list(self, revision: str) -> dict[str, str]:
        def listed() -> dict[str, str]:
            tree = self._api.list_repo_tree(self._repo, recursive=True, revision=revision, repo_type=self._type)
            return {f.path: f.lfs.sha256 if f.lfs else f.blob_id for f in tree if isinstance(f, RepoFile)}

        return retrying(listed)

    def _read(self, name: str, revision: str) -> bytes | None:
        """Read a small file by one request; None if there is none."""
        address = hf_hub_url(self._repo, name, repo_type=self._type, revision=revision, endpoint=self._api.endpoint)

        def read() -> bytes | None:
            answer = get_session().get(address, headers=build_hf_headers(token=self._api.token), follow_redirects=True)
            try:
                hf_raise_for_status(answer)
            except RemoteEntryNotFoundError:
                return None
            return bytes(answer.content)

        return retrying(read)


def _groups(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    rest = iter(items)
    while group := list(islice(rest, size)):
        yield group


def _upload_groups(files: Iterable[Published]) -> Iterator[list[Published]]:
    group: list[Published] = []
    for file in files:
        if len(group) == _GROUP or sum(one.bytes for one in group) >= _GROUP_BYTES:
            yield group
            group = []
        group.append(file)
    if group:
        yield group


def _require_fit(repo: str, names: Sequence[str]) -> None:
    fullest = max(Counter(name.rpartition("/")[0] for name in names).values(), default=0)
    if fullest > _FOLDER or len(names) > _REPO:
        raise BadConfig(
            f"The release has {len(names)} files, {fullest} of them in one folder; the Hub takes {_REPO} in {repo} and "
            f"{_FOLDER} in a folder. Raise publish.shard_rows or publish.shard_bytes, and run release again."
        )
