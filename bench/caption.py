"""What asking a server costs, beside a bare loop and a peer, and over 100,000 requests. Writes bench/caption.md."""

import asyncio
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp

from kale_tasks.engines.base import Model, Request, open_engine
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.settings import load

SERVER = """
import asyncio
import sys
from aiohttp import web
REPLY = {"choices": [{"message": {"content": sys.argv[2]}, "finish_reason": "stop"}],
         "usage": {"prompt_tokens": 90, "completion_tokens": 12}}
async def answer(request):
    await request.read()
    await asyncio.sleep(float(sys.argv[1]))
    return web.json_response(REPLY)
async def up():
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/v1/chat/completions", answer)
    app.router.add_get("/v1/models", lambda request: web.json_response({"data": []}))  # a peer asks for it first
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()
asyncio.run(up())
"""
TASK = load_recipe("demo").task("fused")
MESSAGES = TASK.prompt.messages(
    {"alt": "Kaldor Tower, Brix, 1889", "dense": "A red tower is at the left."}, image=False
)


@contextmanager
def server(delay: float = 0.02, text: str = "A red tower is at the left.") -> Iterator[str]:
    """The loopback server in a process of its own, which answers every request with a text after a delay."""
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(delay), text], stdout=subprocess.PIPE, text=True)
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.kill()
        process.wait()


def ours(url: str, count: int, in_flight: int, notes: list[float] | None = None) -> tuple[float, float]:
    """Wall and CPU seconds of the engine; peak memory is noted ten times on the way."""
    settings = load([f"caption.in_flight={in_flight}", "caption.engine=openai"], environ={}).settings.caption
    model = Model("tiny@0", TASK, lambda: Path("nowhere"), [url])
    with open_engine(settings, model) as engine:
        engine.start()
        wall, cpu, sent, done = time.perf_counter(), time.process_time(), 0, 0
        while done < count:
            while sent < count and engine.pending < in_flight:
                engine.submit(Request(sent, MESSAGES, seed=sent))
                sent += 1
            before = done * 10 // count
            done += len(engine.finished())
            if notes is not None and done * 10 // count > before:
                notes.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return time.perf_counter() - wall, time.process_time() - cpu


def bare(url: str, count: int, in_flight: int) -> tuple[float, float]:
    """Wall and CPU seconds of a plain asyncio loop that sends the same bodies."""
    fixed = {"model": "tiny", "messages": MESSAGES, "max_tokens": 320, "temperature": 0.0, "top_p": 1.0}

    async def run() -> None:
        numbers = iter(range(count))
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def worker() -> None:
                for number in numbers:
                    async with session.post(f"{url}/chat/completions", json={**fixed, "seed": number}) as response:
                        (await response.json())["choices"][0]["message"]["content"]

            await asyncio.gather(*(worker() for _ in range(in_flight)))

    wall, cpu = time.perf_counter(), time.process_time()
    asyncio.run(run())
    return time.perf_counter() - wall, time.process_time() - cpu


def datatrove(url: str, count: int, in_flight: int) -> tuple[float, float]:
    """Wall and CPU seconds of datatrove's inference runner, from its first request on."""
    script = Path(__file__).parent / "peers/datatrove_inference.py"
    python = Path(__file__).parents[1] / ".venv-bench/bin/python"
    words = [url.removesuffix("/v1"), count, in_flight, json.dumps(MESSAGES)]
    said = subprocess.run(list(map(str, [python, script, *words])), check=True, capture_output=True, text=True).stdout
    wall, cpu = json.loads(said.splitlines()[-1])
    return wall, cpu


CONTENDERS = {"bare loop": bare, "ours": ours, "datatrove's runner": datatrove}


def main() -> None:
    """Measure and write the tables."""
    path = Path(__file__).with_suffix(".md")
    lines = []
    with server() as url:
        bare(url, 200, 8)  # connections, caches
        for in_flight in (1, 4, 8, 16, 24):
            count = 150 * in_flight
            tries = [{name: run(url, count, in_flight) for name, run in CONTENDERS.items()} for _ in range(3)]
            least = {name: min(one[name][1] for one in tries) / count * 1e6 for name in CONTENDERS}
            for name in CONTENDERS:
                wall = min(one[name][0] for one in tries)
                cells = [in_flight, count, name, f"{count / wall:.0f}", f"{least[name]:.0f}"]
                lines.append(f"| {' | '.join(map(str, cells))} | {least[name] - least['bare loop']:.0f} |")
                print(lines[-1], flush=True)
        many = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
        notes: list[float] = []
        wall, cpu = ours(url, many, 64, notes)
    peaks = ", ".join(f"{note:.0f}" for note in notes)
    summary = (
        f"{wall:.0f} s wall, {cpu:.0f} s CPU, {many / wall:.0f} requests/s. Peak memory at each tenth, MB: {peaks}."
    )
    page = _PAGE.format(lines="\n".join(lines), many=f"{many:,}", summary=summary)
    path.write_text(page)
    print(page)


_PAGE = """# What a request costs

By `python -m bench.caption` on 2 cores, 24 GB: a loopback server, a process of its own, answers after 20 ms. The bare
loop is aiohttp that sends the same bodies and does nothing else. The best of three tries, taken by turns. CPU seconds
are the client's; *over bare* is what it spends beside the bare loop.

| in flight | requests | who | requests/s | CPU µs a request | over bare, µs |
|---:|---:|---|---:|---:|---:|
{lines}

## {many} requests, 64 in flight

{summary}
"""

if __name__ == "__main__":
    main()
