"""A well-behaved image server that records its requests."""

import hashlib
import io
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image


class Plain:
    """The requests so far, in order."""

    def __init__(self) -> None:
        self.port = 0
        self.paths: list[str] = []
        self.times: list[float] = []
        self.agents: list[str] = []
        self.seen: Counter[str] = Counter()
        self.open = self.together = 0
        self.lock = threading.Lock()

    @property
    def pictures(self) -> int:
        """The number of requests for images."""
        return sum(not path.endswith((".txt", ".json")) for path in list(self.paths))

    def url(self, number: int, way: str = "ok") -> str:
        """Return the URL of an image; `way`: ok, gone, slowly, moved, large, heals (500 at first) or busy (429)."""
        return f"http://127.0.0.1:{self.port}/{way}/{number}.jpg"

    def sha256(self, number: int) -> str:
        """Return the hash of an image's bytes."""
        return hashlib.sha256(image(number)).hexdigest()


@cache
def image(number: int) -> bytes:
    """Encode a small image that differs from all others."""
    pixels = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).resize((120, 90), Image.Resampling.BICUBIC).save(out, "JPEG", quality=90)
    return out.getvalue()


@cache
def large() -> bytes:
    """Encode a picture that needs more memory and time to decode than others."""
    out = io.BytesIO()
    Image.new("RGB", (7000, 7000)).save(out, "PNG", compress_level=1)
    return out.getvalue()


@contextmanager
def plain_server() -> Iterator[Plain]:
    """Run the server on a free port of 127.0.0.1."""
    plain = Plain()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with plain.lock:
                plain.paths.append(self.path)
                plain.times.append(time.monotonic())
                plain.agents.append(self.headers["User-Agent"])
                plain.seen[self.path] += 1
                plain.open += 1
                plain.together = max(plain.together, plain.open)
            try:
                self._answer(self.path.split("/")[1])
            finally:
                with plain.lock:
                    plain.open -= 1

        def _answer(self, way: str) -> None:
            first = plain.seen[self.path] == 1
            if way == "slowly":
                time.sleep(0.05)
            if self.path.endswith((".txt", ".json")) or way == "gone":
                self._send(404, b"")
            elif way == "moved":
                self._send(302, b"", {"Location": f"http://moved.test:{plain.port}{self.path.replace('moved', 'ok')}"})
            elif first and way in ("heals", "busy"):
                self._send(500 if way == "heals" else 429, b"", {"Retry-After": "1"} if way == "busy" else {})
            elif way == "large":
                self._send(200, large())
            else:
                self._send(200, image(int(self.path.rpartition("/")[2].removesuffix(".jpg"))))

        def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    plain.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield plain
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
