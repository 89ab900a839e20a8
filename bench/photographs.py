"""What an engine takes beside its library on photographs, as `kale bench caption` measures it."""

from pathlib import Path

from bench.frame import Page
from kale_tasks.bench.caption import HEADER, Wanted, measure_caption
from kale_tasks.bench.measure import ratio
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.settings import load

PICTURES, ROUNDS = 24, 3
PYTHON = Path(__file__).parents[1] / ".venv-vllm/bin/python"
ENGINES = {
    "transformers": ["caption.device=cpu", "caption.batch=16"],
    "vllm": [f"caption.vllm_python={PYTHON}", "caption.vllm={max_num_seqs: 16}"],
}


def main() -> None:
    """Measure and write the page."""
    page = Page("photographs", "Engines beside their libraries on photographs", _ABOUT, ["torch", "transformers"])
    rows = list[list[str]]()
    for kind, batch in ENGINES.items():
        asked = Wanted(load_recipe("kale"), "dense", "tiny", PICTURES, ROUNDS)
        found = measure_caption(load([*batch, f"caption.engine={kind}"], environ={}).settings.caption, asked)
        rows += [[kind, *row.values()] for row in found.rows()]
        page.ratio(f"{kind}_cpu", ratio(found.series["ours"], found.series["bare"], lambda sample: 1 / sample.cpu))
    page.table(["engine", *HEADER], rows)
    page.write()


_ABOUT = f"""
By `python -m bench.photographs`, as `kale bench caption --recipe kale --weights tiny --pictures {PICTURES}` measures:
photographs of 512 pixels, all different, the processor at its real sizes around a tiny Qwen3-VL with random weights,
greedy, 100 tokens each, 16 at once on both sides, rounds in turns, models loaded and warm. A ratio is the CPU time of
the bare library divided by ours; the goal is 0.87, which is 1.15 times its time.
"""

if __name__ == "__main__":
    main()
