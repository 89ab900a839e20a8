"""A local server with the batch API of OpenAI. Tests decide when a batch ends and what its files hold."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from tests.engines.server import running

Line = dict[str, Any]
TEXT = "A small red tower is at the left. The background is plain white."


def answer(custom_id: str, status: int = 200, text: str = TEXT) -> Line:
    """Make the line of an answer."""
    choice = {"message": {"content": text}, "finish_reason": "stop"}
    body = {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 5}}
    body = body if status == 200 else {"error": {"message": text}}
    return {"id": f"r-{custom_id}", "custom_id": custom_id, "response": {"status_code": status, "body": body}}


class BatchServer:
    """The files and batches of a running server."""

    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.requests: Counter[str] = Counter()  # how often each was handed in
        self.key: str | None = None

    def lines(self, batch: str) -> list[Line]:
        """Return the requests of a batch."""
        return [json.loads(line) for line in self.files[self.batches[batch]["input_file_id"]].splitlines()]

    def end(
        self, batch: str, status: str = "completed", lines: Sequence[Line | str] | None = None, **more: Any
    ) -> None:
        """End a batch, with answers to all requests if no others are given."""
        given = [answer(line["custom_id"]) for line in self.lines(batch)] if lines is None else lines
        text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in given)
        self.files[f"out-{batch}"] = text.encode()
        output = {"output_file_id": f"out-{batch}"} if given else {}
        self.batches[batch] |= {"status": status, **output, **more}

    def end_all(self) -> None:
        """Complete all open batches."""
        for id, batch in self.batches.items():
            if batch["status"] == "in_progress":
                self.end(id)

    async def upload(self, request: web.Request) -> web.Response:
        """Keep a file."""
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.Response(status=401, text="bad key")
        form = await request.post()
        id = f"file-{len(self.files)}"
        self.files[id] = form["file"].file.read()  # type: ignore[union-attr]
        return web.json_response({"id": id})

    async def create(self, request: web.Request) -> web.Response:
        """Start a batch."""
        id = f"batch-{len(self.batches)}"
        self.batches[id] = {"id": id, "status": "in_progress", **await request.json()}
        self.requests.update(line["custom_id"] for line in self.lines(id))
        return web.json_response(self.batches[id])

    async def find(self, request: web.Request) -> web.Response:
        """Return a batch."""
        return web.json_response(self.batches[request.match_info["id"]])

    async def content(self, request: web.Request) -> web.Response:
        """Return a file."""
        return web.Response(body=self.files[request.match_info["id"]])


@contextmanager
def serving_batches(prepare: Callable[[BatchServer], None] = lambda server: None) -> Iterator[BatchServer]:
    """Run a server."""
    server = BatchServer()
    prepare(server)
    routes = [
        web.post("/v1/files", server.upload),
        web.post("/v1/batches", server.create),
        web.get("/v1/batches/{id}", server.find),
        web.get("/v1/files/{id}/content", server.content),
    ]
    with running(routes) as server.url:
        yield server
