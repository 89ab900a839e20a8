"""A web of 16 hosts with prepared pictures, as cheap as Python can be: `python -m bench.peers.image_server`."""

import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.frame import ROOT

HOSTS, PICTURES = 16, 96
SIDES = [(320, 240), (500, 375), (640, 480), (800, 600), (1024, 768), (1280, 960), (1600, 1200)]


@contextmanager
def served() -> Iterator[int]:
    """Start the server in a process of its own; yields its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.peers.image_server"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def serve() -> None:
    """Answer with prepared pictures, as cheaply as Python can."""
    import asyncio

    import uvloop

    answers = [_answer(200, _picture(i)) for i in range(PICTURES)]
    nothing = _answer(404, b"")

    class Server(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport, self.rest = transport, b""

        def data_received(self, data: bytes) -> None:
            self.rest += data
            while b"\r\n\r\n" in self.rest:
                head, _, self.rest = self.rest.partition(b"\r\n\r\n")
                name = head.split(b" ", 2)[1].strip(b"/").removesuffix(b".jpg")
                self.transport.write(answers[int(name) % PICTURES] if name.isdigit() else nothing)
                if b"connection: close" in head.lower():
                    self.transport.close()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        first = await loop.create_server(Server, "127.0.0.1", 0, backlog=1024)
        port = first.sockets[0].getsockname()[1]
        others = [await loop.create_server(Server, f"127.0.0.{i + 1}", port, backlog=1024) for i in range(1, HOSTS)]
        print(port, flush=True)
        await asyncio.gather(*(server.serve_forever() for server in (first, *others)))

    uvloop.run(run())


def _picture(number: int) -> bytes:
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(number)
    width, height = SIDES[number % len(SIDES)]
    coarse = Image.fromarray(rng.integers(0, 255, (height // 24, width // 24, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    out = io.BytesIO()
    grain = rng.integers(-6, 6, pixels.shape)
    Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8)).save(out, "JPEG", quality=85)
    return out.getvalue()


def _answer(status: int, body: bytes) -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


if __name__ == "__main__":
    serve()
