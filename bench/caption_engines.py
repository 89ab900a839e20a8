"""What our engines keep of the speed of what they run: transformers and vLLM, bare and ours, by turns.

Writes bench/caption_engines.md. All four answer the same requests of the tiny captioner, greedy, in fp32.
"""

import base64
import io
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import psutil

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
COUNT, BATCH, ROUNDS = 256, 32, 5
TASK = load_recipe("demo").dense
Round = Callable[[], int]


def requests() -> list[Request]:
    """One picture each."""
    rng = Random(0)
    return [Request(i, TASK.prompt.messages(image=True), jpeg(draw(make_scene(rng)))) for i in range(COUNT)]


def settings(kind: str) -> Caption:
    """Ours for one engine; every contender works by them."""
    fixed = [f"caption.engine={kind}", "caption.device=cpu", f"caption.batch={BATCH}", f"caption.vllm_python={VLLM}"]
    return load(fixed, environ={}).settings.caption


@contextmanager
def ours(kind: str, asked: list[Request]) -> Iterator[Round]:
    """One of our engines, started."""
    with open_engine(settings(kind), Model("tiny@0", TASK, lambda: locate(TASK.model))) as engine:
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
    """The model itself, on batches in the order of the requests."""
    import torch
    from PIL import Image
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = locate(TASK.model)
    model, reader = AutoModelForImageTextToText.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    reader.tokenizer.padding_side = "left"

    def answer() -> int:
        tokens = 0
        for at in range(0, COUNT, BATCH):
            batch = asked[at : at + BATCH]
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
    limits["gpu_memory_utilization"] = settings("vllm").vllm_memory
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


def cpu() -> float:
    """CPU seconds of this process and all below it."""
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in family)


def timed(work: Round) -> tuple[float, float, int]:
    """Wall and CPU seconds and tokens of a round."""
    wall, spent = time.perf_counter(), cpu()
    tokens = work()
    return time.perf_counter() - wall, cpu() - spent, tokens


def compare(kind: str, bare: Round, our: Round) -> Iterator[str]:
    """Two lines of the table: medians of rounds taken by turns."""
    bare(), our()  # warm
    both = [(timed(bare), timed(our)) for _ in range(ROUNDS)]
    middle = {
        who: [sorted(one[i][figure] for one in both)[ROUNDS // 2] for figure in (0, 1)]
        for i, who in enumerate(("bare", "ours"))
    }
    ratios = [sorted(one[0][figure] / one[1][figure] for one in both)[ROUNDS // 2] for figure in (0, 1)]
    for i, who in enumerate(("bare", "ours")):
        tokens = both[0][i][2]
        wall, spent = middle[who]
        kept = f"{ratios[0]:.3f} | {ratios[1]:.3f}" if i else " | "
        yield f"| {kind} | {who} | {tokens:,} | {wall:.2f} | {spent:.2f} | {tokens / wall:,.0f} | {kept} |"


def main() -> None:
    """Measure and write the table."""
    asked, lines = requests(), list[str]()
    with bare_transformers(asked) as bare, ours("transformers", asked) as our:
        lines += compare("transformers", bare, our)
    with bare_vllm(asked) as bare, ours("vllm", asked) as our:
        lines += compare("vLLM", bare, our)
    page = _PAGE.format(count=COUNT, batch=BATCH, rounds=ROUNDS, lines="\n".join(lines))
    Path(__file__).with_suffix(".md").write_text(page)
    print(page)


_PAGE = """# Our engines beside what they run

By `python bench/caption_engines.py` on 2 cores, 24 GB, no GPU: {count} pictures for the tiny captioner, greedy, fp32,
{batch} at once, decoding of the JPEGs and of the answers included, models loaded and warm. Medians of {rounds} rounds
taken by turns; the ratios are medians of each round's own. *vLLM, bare* is `LLM.chat` on all requests at once.

| engine | who | tokens | wall s | CPU s | tokens/s | of bare's speed, wall | of bare's speed, CPU |
|---|---|---:|---:|---:|---:|---:|---:|
{lines}
"""

if __name__ == "__main__":
    main()
