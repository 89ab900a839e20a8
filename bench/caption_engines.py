"""Speed of our engines relative to the libraries that they run: transformers and vLLM, bare and ours.

Writes bench/caption_engines.md. All answer the same requests with the tiny captioner, greedy, in fp32. What is compared
is that of `kale bench caption`.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count as count_up
from pathlib import Path
from random import Random

from bench.frame import Page
from kale_tasks.bench.contenders import Round, bare, ours
from kale_tasks.bench.measure import in_turns, ratio, timed
from kale_tasks.engines.base import Model, Request
from kale_tasks.models.locate import locate
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.settings import load
from kale_tasks.settings.caption import Caption
from kale_tasks.world.draw import draw, jpeg
from kale_tasks.world.scene import make_scene

ROOT = Path(__file__).parents[1]
COUNTS = {256: 31, 4096: 3}  # pictures, and how many rounds
WARM = 64  # pictures before the first round
BATCH = 32
TASK = load_recipe("demo").task("dense")
MODEL = Model("tiny@0", TASK, lambda: locate(TASK.model))


def requests(count: int) -> list[Request]:
    """One picture each; no two are equal."""
    rng = Random(0)
    return [Request(i, TASK.prompt.messages({}, image=True), jpeg(draw(make_scene(rng)))) for i in range(count)]


def settings(kind: str, devices: str = "all") -> Caption:
    """Ours for one engine; every contender works by them."""
    fixed = [f"caption.engine={kind}", "caption.device=cpu", f"caption.batch={BATCH}"]
    fixed += [f"caption.vllm_python={ROOT / '.venv-vllm/bin/python'}", f"caption.vllm={{max_num_seqs: {BATCH}}}"]
    return load([*fixed, f"caption.devices={devices}"], environ={}).settings.caption


def compare(page: Page, name: str, rounds: int, count: int, **contenders: Round) -> Iterator[tuple[object, ...]]:
    """A line of the table for each contender, and the ratios of the second one's speed to the first one's.

    Each round has pictures of its own, as vLLM keeps those that it has seen.
    """
    for answer in contenders.values():
        answer(0, WARM)
    series = in_turns({who: _rounds(answer, count) for who, answer in contenders.items()}, rounds)
    base, *others = series.items()
    for figure, of in (("wall", lambda s: 1 / s.wall), ("cpu", lambda s: 1 / s.cpu)):
        for who, other in others:
            page.ratio(f"{name}_{figure}" if who == "ours" else f"{name}_{who}_{figure}", ratio(other, base[1], of))
    for who, one in series.items():
        tokens = one.figure("tokens")
        figures = [f"{one.cpu / count * 1000:.2f}", f"{count / one.wall:,.0f}", f"{tokens / one.wall:,.0f}"]
        yield name, count, who, f"{tokens:,.0f}", *one.cells, *figures


def _rounds(answer: Round, count: int) -> Callable[[], object]:
    starts = count_up(WARM, count)

    def once() -> object:
        start = next(starts)
        return timed(lambda: {"tokens": answer(start, start + count)})

    return once


def main() -> None:
    """Measure and write the page."""
    page = Page("caption_engines", "Our engines beside what they run", _ABOUT, ["torch", "transformers"])
    rows = list[tuple[object, ...]]()
    for count, rounds in COUNTS.items():
        asked = requests(WARM + rounds * count)
        for kind in ("transformers", "vllm"):
            of = settings(kind)
            with bare(of, MODEL, asked) as base, ours(of, MODEL, asked) as our:
                name = kind if count == min(COUNTS) else f"{kind}_{count}"
                rows += compare(page, name, rounds, count, bare=base, ours=our)
    count, rounds = min(COUNTS.items())
    asked = requests(WARM + rounds * count)
    with ExitStack() as stack:
        groups = {"one": "cpu:0", "two": "cpu:0,cpu:1"}
        begun = {name: stack.enter_context(ours(settings("vllm", of), MODEL, asked)) for name, of in groups.items()}
        rows += compare(page, "groups", rounds, count, **begun)
    head = ["engine", "pictures", "who", "tokens", "wall s", "CPU s", "machine"]
    page.table([*head, "CPU ms a picture", "pictures/s", "tokens/s"], rows)
    page.write()


_ABOUT = f"""
By `python -m bench.caption_engines`, no GPU: pictures for the tiny captioner, greedy, fp32, {BATCH} at once on both
sides, decoding of the JPEGs and of the answers included, models loaded and warm; rounds taken in turns, each with
pictures of its own. *transformers, bare* makes batches of similar length, as ours does. *vllm, bare* is `LLM.chat` on
all requests at once. *groups* is our vLLM engine on one core and on two, each with a process of its own. A ratio is the
speed of the second contender divided by that of the first.
"""

if __name__ == "__main__":
    main()
