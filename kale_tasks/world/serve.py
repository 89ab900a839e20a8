"""`kale sample serve`: the tiny models behind OpenAI's API, to try what asks a server without having one.

They know the prompts that they were trained on. Whatever a request says, an image is described; a text with a
description and `<alt>...</alt>` in it is fused.
"""

import asyncio
import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from kale_tasks.airflow.standalone import check_port
from kale_tasks.engines.base import Answer, Engine, Model, Request, open_engine
from kale_tasks.models.locate import locate
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.settings import load
from kale_tasks.world.models.examples import fuse_messages
from kale_tasks.world.models.tokenizer import prompts

NAME = "kale-sample"
_SOURCES = re.compile(r"(?:description|caption): *(.*?)\s*(?:\n|$).*?<alt>(.*?)</alt>", re.I | re.S)
_REQUEST_BYTES = 1 << 26


@dataclass
class _Asked:
    """A request that waits for its answer."""

    sees: bool
    request: Request
    answer: "asyncio.Future[Answer]"


class SampleServer:
    """Answers chat completions with the tiny models, those that wait together in one batch."""

    def __init__(self) -> None:
        self._engines: dict[bool, Engine] = {}
        self._asked: asyncio.Queue[_Asked] = asyncio.Queue()
        self._worker: asyncio.Task[None] | None = None

    @property
    def routes(self) -> list[web.RouteDef]:
        """What it serves."""
        return [web.get("/v1/models", self._models), web.post("/v1/chat/completions", self._complete)]

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": NAME, "object": "model", "owned_by": "kale"}]})

    async def _complete(self, request: web.Request) -> web.Response:
        try:
            asked = _read(await request.json())
        except (ValueError, LookupError, TypeError) as error:
            return web.json_response({"error": {"message": f"no chat request: {error}"}}, status=400)
        await self._asked.put(asked)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        answer = await asked.answer
        if answer.reason:
            return web.json_response({"error": {"message": f"{answer.reason} {answer.detail}"}}, status=400)
        choice = {"index": 0, "message": {"role": "assistant", "content": answer.text}, "finish_reason": answer.finish}
        usage = {"prompt_tokens": answer.tokens_in, "completion_tokens": answer.tokens_out}
        return web.json_response({"object": "chat.completion", "model": NAME, "choices": [choice], "usage": usage})

    async def _work(self) -> None:
        while not self._asked.empty():
            waiting = [self._asked.get_nowait() for _ in range(self._asked.qsize())]
            for sees in (True, False):
                if some := [one for one in waiting if one.sees is sees]:
                    answers = await asyncio.to_thread(self._answers, sees, [one.request for one in some])
                    for one, answer in zip(some, answers, strict=True):
                        if not one.answer.done():  # who asked may have gone
                            one.answer.set_result(answer)

    def _answers(self, sees: bool, requests: Sequence[Request]) -> list[Answer]:
        engine = self._engines.get(sees) or self._engines.setdefault(sees, _started(sees))
        asked = (Request(n, one.messages, one.image, one.temperature, one.seed) for n, one in enumerate(requests))
        found = {answer.id: answer for answer in engine.answers(asked)}
        return [found[number] for number in range(len(requests))]


def _started(sees: bool) -> Engine:
    task = load_recipe("demo").task("dense" if sees else "fused")
    caption = load(["profile=demo"], environ={}).settings.caption
    engine = open_engine(caption, Model(task.model, task, lambda: locate(task.model)))
    engine.start()
    return engine


def _read(body: Any) -> _Asked:
    content = body["messages"][-1]["content"]
    parts: list[Any] = [{"type": "text", "text": content}] if isinstance(content, str) else content
    image = next((_bytes(part["image_url"]["url"]) for part in parts if part["type"] == "image_url"), None)
    messages = _describe() if image else _fuse(" ".join(part["text"] for part in parts if part["type"] == "text"))
    request = Request(0, messages, image, float(body.get("temperature") or 0), int(body.get("seed") or 0))
    return _Asked(image is not None, request, asyncio.get_running_loop().create_future())


def _bytes(uri: str) -> bytes:
    return base64.b64decode(uri.partition(";base64,")[2], validate=True)


def _describe() -> list[dict[str, Any]]:
    prompt = prompts()["describe"]
    user = [{"type": "image"}, {"type": "text", "text": prompt["user"]}]
    return [{"role": "system", "content": prompt["system"]}, {"role": "user", "content": user}]


def _fuse(text: str) -> list[dict[str, Any]]:
    match = _SOURCES.search(text)
    description, alt_text = match.groups() if match else (text, "")
    return fuse_messages(description, alt_text)


def serve(port: int) -> None:
    """Serve on this machine until ctrl-C; BadConfig if the port is in use."""
    check_port(port)
    app = web.Application(client_max_size=_REQUEST_BYTES)
    app.add_routes(SampleServer().routes)
    print(f"The tiny models answer at http://127.0.0.1:{port}/v1 until you press ctrl-C.", flush=True)
    web.run_app(app, host="127.0.0.1", port=port, print=None)
