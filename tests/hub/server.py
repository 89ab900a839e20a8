"""A server that speaks as much of the Hub's HTTP API as the real client needs, and fails on demand."""

import hashlib
import json
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from tests.hub.http import Answer, handler_of
from tests.hub.repo import LARGE, Blob, Commit, ParentMoved, Repo

TOKEN = "hf_test"


@dataclass
class Fault:
    """Fails the requests whose `METHOD path` matches, `times` times; `after`: after the request was carried out."""

    match: str
    status: int  # 0: the connection is closed without an answer
    times: int = 1
    after: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


class HubServer:
    """The server; `requests` and `received` record what was sent."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.repos = folder, dict[str, Repo]()
        self.token = TOKEN
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.received: Counter[str] = Counter()  # large files, by how often they came whole
        self.received_bytes = 0
        self.largest_commit = 0  # files in it
        self.pace = 0.0  # seconds that each large file takes
        self.hook: Callable[[str], None] = lambda line: None  # sees each request before it is answered
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(self))
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def repo(self, name: str) -> Repo:
        """The repository `datasets/name/x` or `models/name/x`."""
        return self.repos[name]

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> None:
        """Raises the Answer."""
        path, query = unquote(urlsplit(target).path), parse_qs(urlsplit(target).query)
        line = f"{method} {path}"
        self.requests.append(line)
        self.hook(line)
        fault = next((f for f in self.faults if f.times and re.search(f.match, line)), None)
        if fault:
            fault.times -= 1
            if fault.after:
                with suppress(Answer):
                    self._route(method, path, query, headers, body)
            raise Answer(fault.status, {"error": "requested by the test"}, fault.headers)
        self._route(method, path, query, headers, body)

    def _route(
        self, method: str, path: str, query: dict[str, list[str]], headers: Mapping[str, str], body: bytes
    ) -> None:
        free = path.startswith(("/lfs/", "/api/validate-yaml")) or "paths-info" in path
        writes = method not in ("GET", "HEAD") and not free
        if writes and headers.get("authorization") != f"Bearer {self.token}":
            raise Answer(401, {"error": "Invalid username or password."})
        for methods, pattern, handle in _ROUTES:
            if method in methods and (found := re.fullmatch(pattern, path)):
                parts = found.groupdict()
                if "repo" in parts and "kind" in parts:
                    parts["repo"] = f"{parts.pop('kind') or 'models'}/{parts['repo']}"
                handle(self, body=body, query=query, headers=headers, **parts)
        raise Answer(404, {"error": f"no such path {path}"})

    def _repo(self, name: str) -> Repo:
        if name not in self.repos:
            raise Answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        return self.repos[name]

    def _commit(self, repo: str, revision: str) -> Commit:
        if not (found := self._repo(repo).at(revision)):
            raise Answer(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
        return found

    def create(self, body: bytes, **_: Any) -> None:
        request = json.loads(body)
        name = f"{request.get('type', 'model')}s/{request['organization']}/{request['name']}"
        if name in self.repos:
            raise Answer(409, {"error": "You already created this repo", "url": f"{self.url}/{name}"})
        self.repos[name] = Repo(self.folder / name)
        self.repos[name].settings["private"] = request.get("visibility") == "private"
        raise Answer(200, {"url": f"{self.url}/{name.removeprefix('models/')}"})

    def validate(self, body: bytes, **_: Any) -> None:
        found = re.match(r"---\n(.*?)\n---\n", json.loads(body)["content"], re.DOTALL)
        try:
            good = isinstance(yaml.safe_load(found.group(1)), dict) if found else True
        except yaml.YAMLError:
            good = False
        raise Answer(200 if good else 400, {"errors": [] if good else [{"message": "no YAML"}], "warnings": []})

    def info(self, repo: str, revision: str | None = None, **_: Any) -> None:
        commit = self._commit(repo, revision or "main")
        raise Answer(200, {
            "_id": "1", "id": repo.partition("/")[2], "sha": commit.oid, **self._repo(repo).settings,
            "disabled": False, "tags": [], "downloads": 0, "likes": 0,
            "lastModified": commit.date, "createdAt": commit.date,
            "siblings": [{"rfilename": name} for name in commit.files],
        })  # fmt: skip

    def tree(self, repo: str, revision: str, query: dict[str, list[str]], folder: str | None = None, **_: Any) -> None:
        commit, prefix = self._commit(repo, revision), f"{folder}/" if folder else ""
        below = {n: b for n, b in commit.files.items() if n.startswith(prefix)}
        if folder and not below:
            raise Answer(404, {"error": "no such folder"}, {"X-Error-Code": "EntryNotFound"})
        recursive = query.get("recursive", ["false"])[0].lower() in ("true", "1")
        folders = {n[: n.index("/", i)] for n in below for i in range(len(prefix), len(n)) if n.find("/", i) > 0}
        listed = [_entry(n, b) for n, b in sorted(below.items()) if recursive or "/" not in n[len(prefix) :]]
        listed += [
            {"type": "directory", "oid": "0" * 40, "size": 0, "path": f}
            for f in sorted(folders) if recursive or "/" not in f[len(prefix) :]
        ]  # fmt: skip
        raise Answer(200, listed)

    def paths_info(self, repo: str, revision: str, body: bytes, **_: Any) -> None:
        commit = self._commit(repo, revision)
        text = body.decode()
        paths = json.loads(text)["paths"] if text.startswith("{") else parse_qs(text).get("paths", [])
        found: list[dict[str, Any]] = [_entry(path, commit.files[path]) for path in paths if path in commit.files]
        found += [
            {"type": "directory", "oid": "0" * 40, "size": 0, "path": path}
            for path in paths if any(n.startswith(f"{path}/") for n in commit.files)
        ]  # fmt: skip
        raise Answer(200, found)

    def preupload(self, repo: str, revision: str, body: bytes, **_: Any) -> None:
        files = self._commit(repo, revision).files
        raise Answer(200, {"files": [
            {"path": f["path"], "uploadMode": "lfs" if f["path"].endswith(LARGE) else "regular", "shouldIgnore": False,
             "oid": _known(files.get(f["path"]))}
            for f in json.loads(body)["files"]
        ]})  # fmt: skip

    def lfs_batch(self, repo: str, body: bytes, **_: Any) -> None:
        objects = []
        for request in json.loads(body)["objects"]:
            place = f"{self.url}/lfs/{repo}/{request['oid']}"
            missing = not self._repo(repo).large(request["oid"]).exists()
            actions = {"actions": {"upload": {"href": place}, "verify": {"href": f"{place}/verify"}}} if missing else {}
            objects.append({**request, **actions})
        raise Answer(200, {"transfer": "basic", "objects": objects})

    def lfs_put(self, repo: str, oid: str, body: bytes, **_: Any) -> None:
        time.sleep(self.pace)
        if hashlib.sha256(body).hexdigest() != oid:
            raise Answer(400, {"error": "these bytes are not what was announced"})
        self.received[oid] += 1
        place = self._repo(repo).large(oid)
        temporary = place.with_suffix(f".{uuid.uuid4().hex}")
        temporary.write_bytes(body)
        temporary.replace(place)
        raise Answer(200)

    def lfs_verify(self, repo: str, oid: str, **_: Any) -> None:
        raise Answer(200 if self._repo(repo).large(oid).exists() else 404)

    def settings(self, repo: str, body: bytes, **_: Any) -> None:
        given = json.loads(body)
        private = {"private": given["visibility"] == "private"} if "visibility" in given else {}
        self._repo(repo).settings |= {"gated": given.get("gated", False), **private}
        raise Answer(200)

    def merge(self, repo: str, number: str, **_: Any) -> None:
        self._repo(repo).merge(f"refs/pr/{number}")
        raise Answer(200)

    def commit(self, repo: str, revision: str, body: bytes, query: dict[str, list[str]], **_: Any) -> None:
        lines = [json.loads(line) for line in body.splitlines()]
        self.largest_commit = max(self.largest_commit, len(lines) - 1)
        pull: dict[str, str] = {}
        try:
            if query.get("create_pr"):
                name, made = self._repo(repo).request_pull(lines)
                pull = {"pullRequestUrl": f"{self.url}/{repo}/discussions/{name.rpartition('/')[2]}"}
            else:
                made = self._repo(repo).commit_lines(lines, revision)
        except ParentMoved:
            raise Answer(412, {"error": "A commit has happened since. Please refresh and try again."}) from None
        except KeyError as error:
            raise Answer(400, {"error": f"LFS pointer pointed to a file that does not exist: {error}"}) from None
        url = f"{self.url}/{repo}/commit/{made.oid}"
        raise Answer(200, {"commitUrl": url, "commitOid": made.oid, "success": True, **pull})

    def commits(self, repo: str, **_: Any) -> None:
        raise Answer(200, [
            {"id": c.oid, "title": c.title, "message": c.message, "date": c.date, "authors": [{"user": "someone"}]}
            for c in reversed(self._repo(repo).commits)
        ])  # fmt: skip

    def tag(self, repo: str, revision: str, body: bytes, **_: Any) -> None:
        found, name = self._repo(repo), json.loads(body)["tag"]
        if name in found.tags:
            raise Answer(409, {"error": "Tag already exists"})
        found.tags[name] = self._commit(repo, revision).oid
        raise Answer(200)

    def refs(self, repo: str, **_: Any) -> None:
        found = self._repo(repo)
        tags = [{"name": n, "ref": f"refs/tags/{n}", "targetCommit": oid} for n, oid in found.tags.items()]
        main = {"name": "main", "ref": "refs/heads/main", "targetCommit": found.head.oid}
        raise Answer(200, {"branches": [main], "tags": tags, "converts": []})

    def lfs_files(self, repo: str, **_: Any) -> None:
        found = self._repo(repo)
        blobs = {b.sha256: (n, b) for c in found.commits for n, b in c.files.items() if b.sha256}
        raise Answer(200, [
            {"fileOid": oid, "filename": n, "oid": oid, "pushedAt": found.head.date, "ref": "main", "size": b.size}
            for oid, (n, b) in blobs.items()
        ])  # fmt: skip

    def lfs_delete(self, repo: str, body: bytes, **_: Any) -> None:
        self._repo(repo).forget(set(json.loads(body)["deletions"]["sha"]))
        raise Answer(200)

    def resolve(self, repo: str, revision: str, file: str, headers: Mapping[str, str], **_: Any) -> None:
        commit = self._commit(repo, revision)
        if file not in commit.files:
            raise Answer(
                404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit.oid}
            )
        blob = commit.files[file]
        data, status, extra = self._repo(repo).read(blob), 200, {}
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", "")):
            start, stop = int(match[1]), int(match[2] or len(data) - 1) + 1
            extra = {"Content-Range": f"bytes {start}-{min(stop, len(data)) - 1}/{len(data)}"}
            data, status = data[start:stop], 206
        etag = {"ETag": f'"{blob.sha256 or blob.oid}"', "X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes"}
        raise Answer(status, data, {**etag, **extra, "Content-Type": "application/octet-stream"})


def _entry(name: str, blob: Blob) -> dict[str, Any]:
    lfs = {"lfs": {"oid": blob.sha256, "size": blob.size, "pointerSize": 130}} if blob.sha256 else {}
    return {"type": "file", "oid": blob.oid, "size": blob.size, "path": name, **lfs}


def _known(blob: Blob | None) -> str | None:
    return None if blob is None else blob.sha256 or blob.oid


_API, _NAME = r"/api/(?P<kind>datasets|models)/(?P<repo>[^/]+/[^/]+)", r"(?:(?P<kind>datasets)/)?(?P<repo>[^/]+/[^/]+?)"
_ROUTES: list[tuple[str, str, Callable[..., None]]] = [
    ("POST", "/api/repos/create", HubServer.create),
    ("POST", "/api/validate-yaml", HubServer.validate),
    ("GET", rf"{_API}(?:/revision/(?P<revision>[^/]+))?", HubServer.info),
    ("GET", rf"{_API}/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?", HubServer.tree),
    ("POST", rf"{_API}/paths-info/(?P<revision>[^/]+)", HubServer.paths_info),
    ("POST", rf"{_API}/preupload/(?P<revision>.+)", HubServer.preupload),
    ("POST", rf"{_API}/commit/(?P<revision>.+)", HubServer.commit),
    ("PUT", rf"{_API}/settings", HubServer.settings),
    ("POST", rf"{_API}/discussions/(?P<number>\d+)/merge", HubServer.merge),
    ("GET", rf"{_API}/commits/[^/]+", HubServer.commits),
    ("POST", rf"{_API}/tag/(?P<revision>[^/]+)", HubServer.tag),
    ("GET", rf"{_API}/refs", HubServer.refs),
    ("GET", rf"{_API}/lfs-files", HubServer.lfs_files),
    ("POST", rf"{_API}/lfs-files/batch", HubServer.lfs_delete),
    ("POST", rf"/{_NAME}\.git/info/lfs/objects/batch", HubServer.lfs_batch),
    ("PUT", r"/lfs/(?P<repo>.+)/(?P<oid>[0-9a-f]{64})", HubServer.lfs_put),
    ("POST", r"/lfs/(?P<repo>.+)/(?P<oid>[0-9a-f]{64})/verify", HubServer.lfs_verify),
    ("GET HEAD", rf"/{_NAME}/resolve/(?P<revision>[^/]+)/(?P<file>.+)", HubServer.resolve),
]
