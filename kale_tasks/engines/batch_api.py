"""The batch API of OpenAI and of servers that speak it: files of requests, and batches that answer them."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from pydantic import SecretStr

from kale_tasks.engines.chat_api import said_in
from kale_tasks.errors import BadConfig, Transient

ENDED = {"completed", "expired", "cancelled", "failed"}
_SECONDS = 600.0  # for one call: files are large
_T = TypeVar("_T")


class BatchApi:
    """Calls one server, each call in an event loop of its own."""

    def __init__(self, url: str, key: SecretStr | None) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}

    def create(self, file: Path, name: str) -> dict[str, Any]:
        """Upload a file of requests and start a batch of them. Returns the batch."""

        async def call(session: aiohttp.ClientSession) -> dict[str, Any]:
            form = aiohttp.FormData()
            form.add_field("purpose", "batch")
            with file.open("rb") as source:
                form.add_field("file", source, filename=f"{name}.jsonl", content_type="application/jsonl")
                uploaded = await _json(session.post(f"{self._url}/files", data=form))
            wanted = {
                "input_file_id": uploaded["id"],
                "endpoint": "/v1/chat/completions",
                "completion_window": "24h",
                "metadata": {"kale": name},
            }
            return await _json(session.post(f"{self._url}/batches", json=wanted))

        return self._run(call)

    def find(self, id: str) -> dict[str, Any]:
        """Return a batch as it is now."""
        return self._run(lambda session: _json(session.get(f"{self._url}/batches/{id}")))

    def download(self, id: str, target: Path) -> None:
        """Write a file of answers or errors to disk."""

        async def call(session: aiohttp.ClientSession) -> None:
            async with session.get(f"{self._url}/files/{id}/content") as response:
                await _check(response)
                with target.open("wb") as sink:
                    async for piece in response.content.iter_chunked(1 << 20):
                        sink.write(piece)

        self._run(call)

    def _run(self, call: Callable[[aiohttp.ClientSession], Awaitable[_T]]) -> _T:
        async def run() -> _T:
            timeout = aiohttp.ClientTimeout(total=_SECONDS)
            async with aiohttp.ClientSession(headers=self._headers, timeout=timeout) as session:
                return await call(session)

        try:
            return asyncio.run(run())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Transient(f"{self._url}: {type(error).__name__}: {error}. Nothing is lost; try again.") from error


async def _json(call: Any) -> dict[str, Any]:
    async with call as response:
        await _check(response)
        found: dict[str, Any] = await response.json()
        return found


async def _check(response: aiohttp.ClientResponse) -> None:
    if response.status < 400:
        return
    text = f"{response.url} answers {response.status} {await said_in(response)}"
    if response.status in {400, 401, 403, 404}:
        raise BadConfig(f"{text}. Check the address, its key and that the server has a batch API.")
    raise Transient(f"{text}. Nothing is lost; try again.")
