"""The test Hub with Xet: large files go to and come from a content-addressed store."""

import re
from collections.abc import Mapping
from pathlib import Path

from tests.hub.http import Answer
from tests.hub.server import HubServer
from tests.hub.xet import XetStore


class XetHub(HubServer):
    """The server; `store` has what hf-xet has sent."""

    def __init__(self, folder: Path) -> None:
        self.store = XetStore(folder / "xet")
        super().__init__(folder)

    def _route(
        self, method: str, path: str, query: dict[str, list[str]], headers: Mapping[str, str], body: bytes
    ) -> None:
        wanted = headers.get("range", "")
        if re.fullmatch(r"/api/.+/xet-(read|write)-token/.+", path):
            raise self.store.token(self.url)
        if found := re.fullmatch(r"/v\d/xorbs/default/([0-9a-f]{64})", path):
            raise self.store.put_xorb(found[1], body)
        if re.fullmatch(r"/v\d/shards", path):
            raise self._shard(body)
        if path.startswith(("/v1/chunks/", "/v2/chunks/")):
            raise Answer(404, {"error": "unknown chunk"})
        if found := re.fullmatch(r"/v1/reconstructions/([0-9a-f]{64})", path):
            raise self.store.reconstruct(found[1], self.url, wanted)
        if found := re.fullmatch(r"/xet/([0-9a-f]{64})", path):
            raise self.store.read(found[1], wanted)
        if re.fullmatch(r"/v\d/.*", path):
            raise Answer(404, {"error": "not spoken here"})
        try:
            super()._route(method, path, query, headers, body)
        except Answer as answer:
            raise self._with_xet(path, answer) from None

    def _shard(self, body: bytes) -> Answer:
        answer = self.store.put_shard(body)
        for repo in self.repos.values():  # which ask for the bytes of a large file before they commit it
            for sha256 in self.store.files:
                repo.large(sha256).touch()
        return answer

    def _with_xet(self, path: str, answer: Answer) -> Answer:
        file = self.store.files.get(answer.headers.get("ETag", "").strip('"'))
        if file and "/resolve/" in path:
            repo = path.split("/resolve/", maxsplit=1)[0].strip("/")
            kind = "" if repo.startswith("datasets/") else "models/"
            answer.headers |= {
                "X-Xet-Hash": file.hash,
                "Link": f'<{self.url}/api/{kind}{repo}/xet-read-token/main>; rel="xet-auth"',
                "X-Linked-Size": str(file.size),
                "X-Linked-Etag": answer.headers["ETag"],
            }
        return answer
