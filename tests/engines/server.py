"""A local chat server with a fixed delay and programmable failures; records its requests."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from typing import Any

from aiohttp import web

Reply = Callable[[dict[str, Any]], web.Response | None]


class Server:
    """The state of a running server."""

    def __init__(self, delay: float, reply: Reply | None, width: int | None = None) -> None:
        self.delay, self.reply = delay, reply
        self.turns = asyncio.Semaphore(width) if width else nullcontext()  # as an engine generates a few at once
        self.delays: dict[str, float] = {}  # of single texts
        self.asked: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.connections: set[int] = set()
        self.keep_bodies = True
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one completion request."""
        body = await request.json()
        text = prompt_of(body)
        self.asked[text] += 1
        self.connections.add(id(request.transport))
        if self.keep_bodies:
            self.bodies.append(body)
        if delay := self.delays.get(text, self.delay):
            async with self.turns:
                await asyncio.sleep(delay)
        return (self.reply and self.reply(body)) or completion(
            f"A caption of {len(text)} letters is here for all to see."
        )


def prompt_of(body: dict[str, Any]) -> str:
    """Return the text of the last message."""
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def completion(text: str, finish: str = "stop") -> web.Response:
    """Make the response with a completion."""
    choice = {"message": {"content": text}, "finish_reason": finish}
    return web.json_response({"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 5}})


@contextmanager
def serving(delay: float = 0.0, reply: Reply | None = None, width: int | None = None) -> Iterator[Server]:
    """Run a server, which answers at most `width` requests at once."""
    server = Server(delay, reply, width)
    with running([web.post("/v1/chat/completions", server.answer)]) as server.url:
        yield server


@contextmanager
def running(
    routes: Sequence[web.RouteDef], middlewares: Sequence[Any] = (), contexts: Sequence[Any] = ()
) -> Iterator[str]:
    """Serve routes in another thread, and return the address of the API, which ends with /v1."""
    loop, started = asyncio.new_event_loop(), Future[int]()

    async def start() -> web.AppRunner:
        app = web.Application(client_max_size=1 << 28, middlewares=middlewares)
        app.add_routes(routes)
        app.cleanup_ctx.extend(contexts)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    def run() -> None:
        runner = loop.run_until_complete(start())
        started.set_result(runner.addresses[0][1])
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{started.result()}/v1"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
