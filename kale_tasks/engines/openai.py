"""Any OpenAI-compatible server: `vllm serve`, a cluster's gateway. Images travel as data URIs, never as links."""

import asyncio
import base64
import random
import time
from collections import Counter
from functools import cached_property
from typing import Any

import aiohttp

from kale_tasks.engines.base import (
    ENGINE_ERROR,
    IMAGE_BROKEN,
    REJECTED,
    TIMEOUT,
    TOO_LONG,
    Answer,
    Engine,
    Model,
    Request,
)
from kale_tasks.errors import BadConfig, KaleError, Transient
from kale_tasks.imaging import SNIFFED_BYTES, BrokenImage, fit, image_type
from kale_tasks.settings.caption import Caption

_BUSY = {408, 409, 425, 429, 500, 502, 503, 504}
_LOCKED = {401, 403, 404}
_LONGEST_WAIT = 60.0


class OpenAIEngine(Engine):
    """Sends requests to servers, several at once, and waits when they are busy."""

    def __init__(self, settings: Caption, model: Model) -> None:
        super().__init__(settings, model)
        if not model.endpoints:
            raise BadConfig("caption.engine=openai needs servers: set caption.endpoints for each step.")
        self.devices = len(model.endpoints)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._done: list[Answer] = []
        self._open = 0
        self._load: Counter[str] = Counter({endpoint.rstrip("/"): 0 for endpoint in model.endpoints})
        self._last_success = time.monotonic()
        self._fault: KaleError | None = None

    @property
    def pending(self) -> int:
        return self._open

    def start(self) -> None:
        started = time.monotonic()
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._connect())
        self.times.load += time.monotonic() - started
        self.times.starts += 1

    def submit(self, request: Request) -> None:
        assert self._loop
        self._open += 1
        task = self._loop.create_task(self._ask(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def finished(self) -> list[Answer]:
        assert self._loop
        if self._open:
            self._loop.run_until_complete(self._some())
        if self._fault:
            raise self._fault
        done, self._done = self._done, []
        self._open -= len(done)
        return done

    def stop(self) -> None:
        if self._loop is None:
            return
        self._loop.run_until_complete(self._disconnect())
        self._loop.close()
        self._loop = None

    async def _connect(self) -> None:
        key = self.settings.endpoints.api_key
        self._news = asyncio.Event()
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

    async def _some(self) -> None:
        while not self._done and not self._fault:
            self._news.clear()
            await self._news.wait()
        await asyncio.sleep(0)  # whatever else has just come in goes along

    async def _ask(self, request: Request) -> None:
        try:
            answer = await self._answer(request)
            self._done.append(answer)  # not in one line: by the time it comes, the list may be another
        except KaleError as error:
            self._fault = error
        except Exception as error:  # whatever one request does must stay its own affair
            self._done.append(Answer(request.id, reason=ENGINE_ERROR, detail=f"{type(error).__name__}: {error}"[:200]))
        self._news.set()

    async def _answer(self, request: Request) -> Answer:
        try:
            body = self._body(request)
        except BrokenImage as error:
            return Answer(request.id, reason=IMAGE_BROKEN, detail=str(error))
        if self._surely_too_long(request):
            return Answer(request.id, reason=TOO_LONG)
        asked, answer = time.monotonic(), Answer(request.id, reason=ENGINE_ERROR)
        for attempt in range(self.settings.tries):
            answer, wait = await self._send(request, body)
            if wait is None:
                return answer
            if attempt + 1 < self.settings.tries:
                await asyncio.sleep(wait or random.uniform(0.5, 1) * min(_LONGEST_WAIT, 0.5 * 2**attempt))
        if self._last_success < asked:  # nobody was answered since: it is not this request
            raise Transient(f"{', '.join(self._load)}: {answer.detail}. Nothing is lost; try again when they answer.")
        return answer

    async def _send(self, request: Request, body: dict[str, Any]) -> tuple[Answer, float | None]:
        """An answer, and how long to wait before another try; None: it stands, 0: the server does not say."""
        endpoint = min(self._load, key=self._load.__getitem__)
        self._load[endpoint] += 1
        try:
            async with self._session.post(f"{endpoint}/chat/completions", json=body) as response:
                if response.status == 200:
                    self._last_success = time.monotonic()
                    return self._read(request, await response.json()), None
                said = (await response.text(errors="replace"))[:200]
                return self._refused(request, endpoint, response, said)
        except TimeoutError:
            return Answer(request.id, reason=TIMEOUT, detail=f"over {self.settings.timeout_s:g} s"), 0
        except (aiohttp.ClientError, OSError, ValueError, LookupError, TypeError) as error:
            return Answer(request.id, reason=ENGINE_ERROR, detail=f"{type(error).__name__}: {error}"[:200]), 0
        finally:
            self._load[endpoint] -= 1

    def _refused(
        self, request: Request, endpoint: str, response: aiohttp.ClientResponse, said: str
    ) -> tuple[Answer, float | None]:
        detail = f"{response.status} {said}"
        if response.status in _LOCKED:
            raise BadConfig(
                f"{endpoint} answers {detail}. Check its address, its key and that it serves {self._served}."
            )
        if response.status in _BUSY:
            after = response.headers.get("Retry-After", "")
            wait = min(_LONGEST_WAIT, float(after)) if after.replace(".", "", 1).isdigit() else 0
            return Answer(request.id, reason=ENGINE_ERROR, detail=detail), wait
        long = "context length" in said or "too long" in said or "max_model_len" in said
        return Answer(request.id, reason=TOO_LONG if long else REJECTED, detail=detail), None

    def _read(self, request: Request, said: Any) -> Answer:
        choice, usage = said["choices"][0], said.get("usage") or {}
        return Answer(
            request.id,
            choice["message"]["content"] or "",
            int(usage.get("prompt_tokens", 0)),
            int(usage.get("completion_tokens", 0)),
            "length" if choice.get("finish_reason") == "length" else "stop",
        )

    def _body(self, request: Request) -> dict[str, Any]:
        sampling = self.task.sampling
        image = _data_uri(fit(request.image, 0)) if request.image else ""
        return {
            "model": self._served,
            "messages": [
                {**message, "content": _with_image(message["content"], image)} for message in request.messages
            ],
            "max_tokens": sampling.max_tokens,
            "temperature": request.temperature,
            "top_p": sampling.top_p,
            "seed": request.seed,
        }

    @property
    def _served(self) -> str:
        # Servers know a model by its name on the Hub, or by what they were told: `--served-model-name sample:teacher`.
        return self.task.model.partition("@")[0] or self.model.name

    def _surely_too_long(self, request: Request) -> bool:
        room = self.task.context - self.task.sampling.max_tokens - (self.task.image_tokens if request.image else 0)
        texts = list(_texts(request))
        # No token is shorter than a byte: most requests fit for sure, and need not be counted.
        return sum(len(text.encode()) for text in texts) > room and self._count(request) > room

    def _count(self, request: Request) -> int:
        if self._tokenizer is None:
            return 0  # the server has to say
        text = self._tokenizer.apply_chat_template(list(request.messages), tokenize=False, add_generation_prompt=True)
        return len(self._tokenizer(text, add_special_tokens=False).input_ids)

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(self.model.folder(), trust_remote_code=False)
        except (KaleError, OSError, ValueError):
            return None


def _with_image(content: Any, image: str) -> Any:
    if isinstance(content, str):
        return content
    part = {"type": "image_url", "image_url": {"url": image}}
    return [part if given["type"] == "image" else given for given in content]


def _texts(request: Request) -> Any:
    for message in request.messages:
        content = message["content"]
        yield from [content] if isinstance(content, str) else [part.get("text", "") for part in content]


def _data_uri(data: bytes) -> str:
    return f"data:{image_type(data[:SNIFFED_BYTES])};base64,{base64.b64encode(data).decode()}"
