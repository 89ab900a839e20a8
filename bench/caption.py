"""What the captioning engines add to what they run: overhead per request, and memory over 100,000 requests.

Writes bench/caption.md. The server is a loopback process that answers after a fixed 20 ms; the bare loop sends the same
bodies with aiohttp and does nothing else.
"""

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

from kale_tasks.caption.engine import Model, Request, open_engine
from kale_tasks.checkpoint import locate
from kale_tasks.config import load
from kale_tasks.recipe import load_recipe

SERVER = """
import asyncio
from aiohttp import web
REPLY = {"choices": [{"message": {"content": "A red tower is at the left."}, "finish_reason": "stop"}],
         "usage": {"prompt_tokens": 90, "completion_tokens": 12}}
async def answer(request):
    await request.read()
    await asyncio.sleep(0.02)
    return web.json_response(REPLY)
async def up():
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()
asyncio.run(up())
"""
TASK = load_recipe("demo").fuse
MESSAGES = TASK.prompt.messages(alt="Kaldor Tower, Brix, 1889", dense="A red tower is at the left.", image=False)


@contextmanager
def server() -> Iterator[str]:
    """The loopback server in a process of its own."""
    process = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
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


def embedded(count: int) -> tuple[float, float]:
    """CPU seconds of the tiny captioner: the bare model on ready batches, and ours on requests, best of three."""
    import io
    from random import Random

    import torch
    from PIL import Image
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from kale_tasks.sample.draw import draw, jpeg
    from kale_tasks.sample.scene import make_scene

    torch.set_num_threads(1)
    task, rng = load_recipe("demo").dense, Random(0)
    images = [jpeg(draw(make_scene(rng))) for _ in range(count)]
    requests = [Request(i, task.prompt.messages(image=True), image) for i, image in enumerate(images)]
    folder = locate(task.model)
    model, reader = AutoModelForImageTextToText.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    reader.tokenizer.padding_side = "left"

    def bare_model() -> float:
        started = time.process_time()
        for at in range(0, count, 32):
            batch = requests[at : at + 32]
            texts = [reader.apply_chat_template(r.messages, tokenize=False, add_generation_prompt=True) for r in batch]
            seen = [Image.open(io.BytesIO(r.image or b"")).convert("RGB") for r in batch]
            inputs = reader(text=texts, images=seen, padding=True, return_tensors="pt")
            with torch.inference_mode():
                out = model.generate(**inputs, max_new_tokens=task.sampling.max_tokens, do_sample=False)
            reader.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return time.process_time() - started

    settings = load(
        ["caption.engine=transformers", "caption.device=cpu", "caption.batch=32"], environ={}
    ).settings.caption
    with open_engine(settings, Model("tiny@0", task, lambda: folder)) as engine:
        engine.start()

        def our_engine() -> float:
            started = time.process_time()
            for request in requests:
                engine.submit(request)
            while engine.pending:
                engine.finished()
            return time.process_time() - started

        bare_model(), our_engine()  # warm
        both = [(bare_model(), our_engine()) for _ in range(3)]
    return min(bare for bare, _ in both), min(our for _, our in both)


def main() -> None:
    """Measure and write the tables."""
    lines = ["# Captioning engines beside what they run", "", "2 cores, 24 GB; shared with other work.", ""]
    bare_cpu, our_cpu = embedded(64)
    lines += ["## Beside the bare model, transformers, 64 images, batches of 32, one thread", ""]
    lines += [f"Bare {bare_cpu:.2f} CPU s, ours {our_cpu:.2f} CPU s: {bare_cpu / our_cpu:.3f} of its speed.", ""]
    lines += ["## Overhead of a request, loopback server with 20 ms", ""]
    lines += [
        "| in flight | requests | bare: requests/s | ours: requests/s | bare: CPU µs | ours: CPU µs | overhead µs |"
    ]
    lines += ["|---|---|---|---|---|---|---|"]
    with server() as url:
        bare(url, 200, 8)  # connections, caches
        for in_flight in (1, 4, 8, 16):
            count = 150 * in_flight
            pairs = [(bare(url, count, in_flight), ours(url, count, in_flight)) for _ in range(3)]
            (bw, bc), (ow, oc) = min(b for b, _ in pairs), min(o for _, o in pairs)
            lines.append(
                f"| {in_flight} | {count} | {count / bw:.0f} | {count / ow:.0f} | {bc / count * 1e6:.0f} "
                f"| {oc / count * 1e6:.0f} | {(oc - bc) / count * 1e6:.0f} |"
            )
        many = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
        notes: list[float] = []
        wall, cpu = ours(url, many, 64, notes)
    lines += ["", f"## Memory over {many:,} requests", ""]
    lines += [f"Peak memory at each tenth, MB: {json.dumps([round(note) for note in notes])}"]
    lines += [f"{wall:.0f} s wall, {cpu:.0f} s CPU, {many / wall:.0f} requests/s."]
    Path(__file__).with_suffix(".md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
