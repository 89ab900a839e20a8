"""The test Hub as it takes very large files: in parts, which it puts together."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from tests.hub.http import Answer
from tests.hub.server import HubServer


class PartsHub(HubServer):
    """The server; `size` is that of a part."""

    def __init__(self, folder: Path, size: int) -> None:
        self.size = size
        self.parts: dict[tuple[str, int], bytes] = {}  # by hash of the file and number
        super().__init__(folder)

    def _route(
        self, method: str, path: str, query: dict[str, list[str]], headers: Mapping[str, str], body: bytes
    ) -> None:
        if found := re.fullmatch(r"/part/([0-9a-f]{64})/(\d+)", path):
            self.parts[found[1], int(found[2])] = body
            raise Answer(200, headers={"ETag": f'"{len(body)}"'})
        if found := re.fullmatch(r"/whole/(.+)/([0-9a-f]{64})", path):
            numbers = [part["partNumber"] for part in json.loads(body)["parts"]]
            self.lfs_put(found[1], found[2], b"".join(self.parts[found[2], number] for number in numbers))
        try:
            super()._route(method, path, query, headers, body)
        except Answer as answer:
            raise self._in_parts(path, answer) from None

    def _in_parts(self, path: str, answer: Answer) -> Answer:
        if not path.endswith("/objects/batch"):
            return answer
        known = json.loads(answer.body)
        for each in known["objects"]:
            if upload := each.get("actions", {}).get("upload"):
                number = -(-each["size"] // self.size)
                places = {str(n): f"{self.url}/part/{each['oid']}/{n}" for n in range(1, number + 1)}
                upload["href"] = upload["href"].replace("/lfs/", "/whole/")
                upload["header"] = {"chunk_size": str(self.size), **places}
        return Answer(200, known)
