"""The memory setting bounds the bodies that are held at once, in whatever form they are sent."""

import asyncio
import gzip
from pathlib import Path

import pytest

from kale_tasks.images.fetch import ImageFetcher
from kale_tasks.images.web import WebClient
from tests.images.world import settings

BODY = b"\xff\xd8\xff" + bytes(2_900_000)
PACKED = gzip.compress(BODY, 1)
MEMORY_MB, ANSWERS = 8, 20
HEADS = {
    "a length": (f"Content-Length: {len(BODY)}", BODY),
    "chunks": ("Transfer-Encoding: chunked", f"{len(BODY):x}\r\n".encode() + BODY + b"\r\n0\r\n\r\n"),
    "gzip": (f"Content-Encoding: gzip\r\nContent-Length: {len(PACKED)}", PACKED),
}


@pytest.mark.parametrize("form", HEADS)
def test_bodies_that_are_held_at_once_stay_within_the_setting(tmp_path: Path, form: str) -> None:
    head, content = HEADS[form]
    limits = [f"memory_mb={MEMORY_MB}", "max_bytes=3000000", "host_concurrency=40", "tries=1"]
    of = settings(tmp_path, *(f"images.fetch.{limit}" for limit in limits)).images.fetch
    held, most = 0, 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        known = b".jpg " in await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {'200 OK' if known else '404 No'}\r\nConnection: close\r\n".encode())
        writer.write(f"{head}\r\n\r\n".encode() + content if known else b"Content-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async def fetch(fetcher: ImageFetcher, url: str) -> None:
        nonlocal held, most
        async with fetcher.fetch(url) as response:
            assert response.body == BODY, response.detail
            held += len(response.body)
            most = max(most, held)
            await asyncio.sleep(0.05)
            held -= len(response.body)

    async def fetch_all() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        web = WebClient(of, lambda name, value: None)
        fetcher = ImageFetcher(of, web, lambda name, value: None)
        try:
            await asyncio.gather(*(fetch(fetcher, f"http://127.0.0.1:{port}/{n}.jpg") for n in range(ANSWERS)))
        finally:
            await web.close()
            server.close()

    asyncio.run(fetch_all())
    assert len(BODY) <= most <= MEMORY_MB << 20
