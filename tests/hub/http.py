"""The HTTP side of the test Hub: reads requests and sends answers."""

import json
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol


class Answer(Exception):
    """The response to a request; raising it ends the request."""

    def __init__(self, status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.headers = status, dict(headers or {})
        self.body = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()


class Hub(Protocol):
    """What the handler needs of the server."""

    received_bytes: int

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> None:
        """Raise the Answer to a request."""


def handler_of(hub: Hub) -> type[BaseHTTPRequestHandler]:
    """Return a handler that passes every request to the server and sends its Answer."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or the body waits 40 ms until the client has acknowledged the headers

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length else self._chunks()
            hub.received_bytes += len(body)
            try:
                hub.answer(self.command, self.path, {n.lower(): v for n, v in self.headers.items()}, body)
            except Answer as answer:
                self._send(answer)

        def _send(self, answer: Answer) -> None:
            if answer.status == 0:
                self.close_connection = True
                self.connection.close()
                return
            self.send_response(answer.status)
            for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        def _chunks(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "") != "chunked":
                return b""
            pieces = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)

        def log_message(self, format: str, *args: object) -> None:
            pass

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    return Handler
