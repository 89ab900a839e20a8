"""Speed of our engines relative to the libraries they use: transformers and vLLM, bare and ours.

Writes bench/caption_engines.md. All four process the same requests with the tiny captioner, greedy, in fp32.
"""

import base64
import io
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from bench.frame import Page, in_turns, ratio, timed
from kale_tasks.engines.base import Engine, Model, Request, open_engine
from kale_tasks.engines.vllm_worker import DEFAULTS
from kale_tasks.models.locate import locate
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.settings import load
from kale_tasks.settings.caption import Caption
from kale_tasks.world.draw import draw, jpeg
from kale_tasks.world.scene import make_scene

ROOT = Path(__file__).parents[1]
VLLM = ROOT / ".venv-vllm/bin/python"
COUNTS = {256: 5, 4096: 2}  # pictures, and how many rounds
BATCH = 32
TASK = load_recipe("demo").task("dense")
Round = Callable[[], int]


def requests(count: int) -> list[Request]:
    """One picture each."""
    rng = Random(0)
    return [Request(i, TASK.prompt.messages({}, image=True), jpeg(draw(make_scene(rng)))) for i in range(count)]


def settings(kind: str, devices: str = "all") -> Caption:
    """Ours for one engine; every contender works by them."""
    fixed = [f"caption.engine={kind}", "caption.device=cpu", f"caption.batch={BATCH}", f"caption.vllm_python={VLLM}"]
    fixed += [f"caption.vllm={{max_num_seqs: {BATCH}}}", f"caption.devices={devices}"]
    return load(fixed, environ={}).settings.caption


@contextmanager
def ours(kind: str, asked: list[Request], devices: str = "all") -> Iterator[Round]:
    """One of our engines, started."""
    with open_engine(settings(kind, devices), Model("tiny@0", TASK, lambda: locate(TASK.model))) as engine:
        engine.start()
        yield lambda: answered(engine, asked)


def answered(engine: Engine, asked: list[Request]) -> int:
    """How many tokens the answers have."""
    tokens = 0
    for request in asked:
        engine.submit(request)
    while engine.pending:
        tokens += sum(answer.tokens_out for answer in engine.finished())
    return tokens


@contextmanager
def bare_transformers(asked: list[Request]) -> Iterator[Round]:
    """The model itself, on batches of requests of similar length, as ours makes them."""
    import torch
    from PIL import Image
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = locate(TASK.model)
    model, reader = AutoModelForImageTextToText.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    reader.tokenizer.padding_side = "left"

    def answer() -> int:
        tokens = 0
        by_length = sorted(asked, key=lambda request: len(str(request.messages)))
        for at in range(0, len(asked), BATCH):
            batch = by_length[at : at + BATCH]
            texts = [reader.apply_chat_template(r.messages, tokenize=False, add_generation_prompt=True) for r in batch]
            seen = [Image.open(io.BytesIO(r.image or b"")).convert("RGB") for r in batch]
            inputs = reader(text=texts, images=seen, padding=True, return_tensors="pt")
            with torch.inference_mode():
                out = model.generate(**inputs, max_new_tokens=TASK.sampling.max_tokens, do_sample=False)
            said = out[:, inputs["input_ids"].shape[1] :]
            reader.batch_decode(said, skip_special_tokens=True)
            tokens += int((said != reader.tokenizer.pad_token_id).sum())
        return tokens

    yield answer


@contextmanager
def bare_vllm(asked: list[Request]) -> Iterator[Round]:
    """vLLM's own offline class, all requests handed over at once, in a process that stays."""
    engine = {
        "model": str(locate(TASK.model)),
        "dtype": "float32",
        "max_model_len": TASK.context,
        "enforce_eager": True,
    }
    limits = {"max_num_seqs": BATCH, "limit_mm_per_prompt": {"image": 1}, "mm_processor_cache_gb": 0, "seed": 0}
    images = [{"messages": r.messages, "image": base64.b64encode(r.image or b"").decode()} for r in asked]
    given = {"engine": engine | limits, "max_tokens": TASK.sampling.max_tokens, "requests": images}
    command = [VLLM, ROOT / "bench/peers/vllm_bare.py"]
    environment = {**DEFAULTS, **os.environ}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdin and process.stdout

    def say(line: str) -> str:
        print(line, file=process.stdin, flush=True)
        return process.stdout.readline() if process.stdout else ""

    try:
        say(json.dumps(given))
        yield lambda: int(say("again"))
    finally:
        process.stdin.close()
        process.wait()


def compare(page: Page, name: str, rounds: int, pictures: int, **contenders: Round) -> Iterator[tuple[object, ...]]:
    """A line of the table for each contender, and the ratios of the second one's speed to the first one's."""
    for contender in contenders.values():
        if pictures == min(COUNTS):
            contender()  # warm
    turns = {who: lambda act=act: timed(lambda: {"tokens": act()}) for who, act in contenders.items()}
    series = in_turns(turns, rounds)
    base, other = series.values()
    named = name if pictures == min(COUNTS) else f"{name}_{pictures}"
    for figure, of in (("wall", lambda s: 1 / s.wall), ("cpu", lambda s: 1 / s.cpu)):
        page.ratio(f"{named}_{figure}", ratio(other, base, of))
    for who, one in series.items():
        tokens = one.figure("tokens")
        figures = [f"{one.cpu / pictures * 1000:.2f}", f"{pictures / one.wall:,.0f}", f"{tokens / one.wall:,.0f}"]
        yield name, pictures, who, f"{tokens:,.0f}", *one.cells, *figures


def main() -> None:
    """Measure and write the page."""
    page = Page("caption_engines", "Our engines beside what they run", _ABOUT, ["torch", "transformers"])
    rows = list[tuple[object, ...]]()
    for count, rounds in COUNTS.items():
        asked = requests(count)
        with bare_transformers(asked) as bare, ours("transformers", asked) as our:
            rows += compare(page, "transformers", rounds, count, bare=bare, ours=our)
        with bare_vllm(asked) as bare, ours("vllm", asked) as our:
            rows += compare(page, "vllm", rounds, count, bare=bare, ours=our)
    count = min(COUNTS)
    asked = requests(count)
    with ours("vllm", asked, "cpu:0") as one, ours("vllm", asked, "cpu:0,cpu:1") as two:
        rows += compare(page, "groups", COUNTS[count], count, one=one, two=two)
    head = ["engine", "pictures", "who", "tokens", "wall s", "CPU s", "machine"]
    page.table([*head, "CPU ms a picture", "pictures/s", "tokens/s"], rows)
    page.write()


_ABOUT = f"""
By `python -m bench.caption_engines`, no GPU: pictures for the tiny captioner, greedy, fp32, {BATCH} at once on both
sides, decoding of the JPEGs and of the answers included, models loaded and warm; rounds taken in turns. *transformers,
bare* makes batches of similar length, as ours does. *vllm, bare* is `LLM.chat` on all requests at once. *groups* is our
vLLM engine on one core and on two, each with a process of its own. A ratio is the speed of the second contender divided
by that of the first.
"""

if __name__ == "__main__":
    main()
