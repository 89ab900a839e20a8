"""Any OpenAI-compatible server: `vllm serve`, or a gateway. Images are sent as data URIs, never as links."""

import asyncio
import random
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import aiohttp

from kale_tasks.engines.base import (
    ENGINE_ERROR,
    IMAGE_BROKEN,
    TIMEOUT,
    TOO_LONG,
    Answer,
    Engine,
    Model,
    Request,
)
from kale_tasks.engines.chat_api import BUSY, read_completion, rejected, request_body, said_in, served_name
from kale_tasks.engines.servers import Server, Servers
from kale_tasks.engines.thought import template_arguments
from kale_tasks.errors import BadConfig, KaleError, Transient
from kale_tasks.imaging import BrokenImage
from kale_tasks.settings.caption import Caption

_DOWN = {502, 503, 504}
_FULL = {429, 503}
_LOCKED = {401, 403, 404}
_LONGEST_WAIT = 60.0


@dataclass(frozen=True)
class _Retry:
    """A request that may be sent again: after some seconds (0: the engine decides), and whether it counts as a try."""

    after: float = 0.0
    counts: bool = True


class OpenAIEngine(Engine):
    """Sends requests to servers, many at once, and retries when they fail or are busy.

    A server that fails gets no requests for a while; the others take over.
    """

    loads = False

    def __init__(self, settings: Caption, model: Model) -> None:
        super().__init__(settings, model)
        if not model.endpoints:
            raise BadConfig("caption.engine=openai needs servers: set caption.endpoints.models and .student.")
        self.devices = len(model.endpoints)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._done: list[Answer] = []
        self._pending = 0
        self._servers = Servers(model.endpoints, settings.tries)
        self._failure: KaleError | None = None

    @property
    def pending(self) -> int:
        return self._pending

    def start(self) -> None:
        started = time.monotonic()
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._connect())
        self.times.load += time.monotonic() - started
        self.times.starts += 1

    def submit(self, request: Request) -> None:
        assert self._loop
        self._pending += 1
        task = self._loop.create_task(self._ask(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def finished(self) -> list[Answer]:
        assert self._loop
        if self._pending:
            self._loop.run_until_complete(self._wait())
        if self._failure:
            raise self._failure
        done, self._done = self._done, []
        self._pending -= len(done)
        return done

    def stop(self) -> None:
        if self._loop is None:
            return
        self._loop.run_until_complete(self._disconnect())
        self._loop.close()
        self._loop = None

    async def _connect(self) -> None:
        key = self.settings.endpoints.api_key
        self._finished = asyncio.Event()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
            timeout=aiohttp.ClientTimeout(total=self.settings.timeout_s),
            headers={"Authorization": f"Bearer {key.get_secret_value()}"} if key else {},
        )

    async def _disconnect(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    async def _wait(self) -> None:
        while not self._done and not self._failure:
            self._finished.clear()
            await self._finished.wait()
        await asyncio.sleep(0)  # lets other requests finish whose answers have just arrived

    async def _ask(self, request: Request) -> None:
        try:
            answer = await self._answer(request)
            self._done.append(answer)  # after the await: `finished` replaces the list meanwhile
        except KaleError as error:
            self._failure = error
        except Exception as error:  # one failed request must not fail the others
            self._done.append(self._error(request, error))
        self._finished.set()

    async def _answer(self, request: Request) -> Answer:
        try:
            body = request_body(self.model, request)
        except BrokenImage as error:
            return Answer(request.id, reason=IMAGE_BROKEN, detail=str(error))
        if self._exceeds_context(request):
            return Answer(request.id, reason=TOO_LONG)
        started, failures = time.monotonic(), 0
        while True:
            server = await self._servers.choose()
            answer, retry = await self._send(server, request, body)
            if retry is None:
                return answer
            if retry.counts:
                failures += 1
                if failures >= self.settings.tries:
                    break
                await asyncio.sleep(retry.after or random.uniform(0.5, 1) * min(_LONGEST_WAIT, 0.25 * 2**failures))
            elif time.monotonic() - started > self.settings.timeout_s and not self._servers.answered_since(started):
                break
        if not self._servers.answered_since(started):  # then it is hardly this request that is to blame
            raise Transient(f"{server.url}: {answer.detail}. Finished parts are kept; try again.")
        return answer

    async def _send(self, server: Server, request: Request, body: dict[str, Any]) -> tuple[Answer, "_Retry | None"]:
        """Send a request once. Returns its answer and, if another try may help, when to make it."""
        sent = time.monotonic()
        try:
            with self._servers.request(server):
                async with self._session.post(f"{server.url}/chat/completions", json=body) as response:
                    if response.status == 200:
                        self._servers.succeed(server)
                        return read_completion(request.id, await response.json(), self.task.sampling.max_tokens), None
                    return self._failed(server, sent, request, response, await said_in(response))
        except aiohttp.ClientConnectorError as error:  # it never got the request
            self._servers.fail(server, sent)
            return self._error(request, error), _Retry(counts=False)
        except TimeoutError:
            self._servers.fail(server, sent)
            return Answer(request.id, reason=TIMEOUT, detail=f"over {self.settings.timeout_s:g} s"), _Retry()
        except (aiohttp.ClientConnectionError, OSError) as error:
            self._servers.fail(server, sent)
            return self._error(request, error), _Retry()
        except (
            aiohttp.ClientError,
            ValueError,
            LookupError,
            TypeError,
            RecursionError,
        ) as error:  # it answered, but no completion
            return self._error(request, error), _Retry()

    def _failed(
        self, server: Server, sent: float, request: Request, response: aiohttp.ClientResponse, text: str
    ) -> tuple[Answer, "_Retry | None"]:
        detail = f"{response.status} {text}"
        if response.status in _LOCKED:
            name = served_name(self.model)
            reason = f"{server.url} answers {detail}. Check its address, its key and that it serves {name}."
            self._servers.refuse(server, reason)
            return Answer(request.id, reason=ENGINE_ERROR, detail=detail), _Retry(counts=False)
        if response.status in BUSY:
            after = response.headers.get("Retry-After", "")
            wait = min(_LONGEST_WAIT, float(after)) if after.replace(".", "", 1).isdigit() else 0.0
            if wait and response.status in _FULL:  # it says nothing about the request: another server may take it now
                self._servers.rest(server, wait)
                return Answer(request.id, reason=ENGINE_ERROR, detail=detail), _Retry(counts=False)
            if response.status in _DOWN:
                self._servers.fail(server, sent)
            return Answer(request.id, reason=ENGINE_ERROR, detail=detail), _Retry(after=wait)
        return rejected(request.id, detail), None

    def _error(self, request: Request, error: Exception) -> Answer:
        return Answer(request.id, reason=ENGINE_ERROR, detail=f"{type(error).__name__}: {error}"[:200])

    def _exceeds_context(self, request: Request) -> bool:
        # Of the text alone: how many tokens an image takes is for the server to count.
        room = self.task.context - self.task.sampling.max_tokens
        texts = list(_texts(request))
        # No token is shorter than a byte, so most requests fit for certain and need not be tokenised.
        return sum(len(text.encode()) for text in texts) > room and self._count(request) > room

    def _count(self, request: Request) -> int:
        if self._tokenizer is None:
            return 0  # unknown here: the server rejects what is too long
        text = self._tokenizer.apply_chat_template(
            list(request.messages), tokenize=False, add_generation_prompt=True, **template_arguments(self.task)
        )
        return len(self._tokenizer(text, add_special_tokens=False).input_ids)

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(self.model.folder(), trust_remote_code=False)
        except (KaleError, OSError, ValueError):
            return None


def _texts(request: Request) -> Any:
    for message in request.messages:
        content = message["content"]
        yield from [content] if isinstance(content, str) else [part.get("text", "") for part in content]
