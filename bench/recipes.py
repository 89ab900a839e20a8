"""What the machinery of passes adds to the bare engine, on the same requests: `python -m bench.recipes`.

Both send the requests of one `ask` pass to a server, in a process of its own, that answers after a fixed delay. The
pass also reads rows and images, fills prompts, cleans answers, writes parts and commits. With SIZES as arguments it
prints the figures of other numbers of rows and writes nothing.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from itertools import count
from pathlib import Path

import yaml

from bench.caption import server
from bench.frame import Page
from kale_tasks.bench.measure import Sample, Series, in_turns, ratio, timed
from kale_tasks.captions.local_passes import pass_step
from kale_tasks.engines.base import Model, Request, open_engine
from kale_tasks.lake.tables import Lake
from kale_tasks.recipes.recipe import Recipe, load_recipe
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import Settings
from tests.captions.world import Pair, give, pairs
from tests.lakes import lake_of

SIZES, DELAY, ROUNDS = (500, 4000), 0.25, 3
CAPTION = "A small red tower is at the left. The background is plain white."
EMPTY = "empty"
ABOUT = f"""
The same requests of one pass with an image each, `caption.in_flight` 32, to a server on this machine that answers after
{DELAY} s. *bare*: the engine alone, with requests in memory. *pass*: `kale run` of the pass without its check: plan,
read, tame and fill in, ask, clean, write parts, seal, commit. CPU seconds are those of the client. *no rows*: a pass on
a key without rows, the share that does not grow with rows.
"""


def main() -> None:
    """Measure and write bench/recipes.md."""
    sizes = tuple(map(int, sys.argv[1:])) or SIZES
    page = Page("recipes", "What passes add to the engine", ABOUT, ["aiohttp", "pyarrow"])
    with opened(sizes) as (lake, settings, recipes):
        found = {
            size: in_turns(
                {
                    "bare": lambda size=size: _client(partial(ask, settings, recipes(), size)),
                    "pass": lambda size=size: _client(partial(run_pass, lake, settings, recipes(), str(size))),
                },
                ROUNDS,
            )
            for size in sizes
        }
        empty = in_turns({EMPTY: lambda: _client(partial(run_pass, lake, settings, recipes(), EMPTY))}, ROUNDS)[EMPTY]
    rows = [[size, name, *series.cells] for size, both in found.items() for name, series in both.items()]
    page.table(["rows", "", "wall s", "CPU s", "machine"], [*rows, [0, "no rows", *empty.cells]])
    page.table(
        ["rows", "wall", "CPU", "CPU µs a row"],
        [_added(size, both["bare"], both["pass"]) for size, both in found.items()],
    )
    for size, both in found.items():
        for name, of in (("wall", _wall), ("cpu", _cpu)):
            page.ratio(f"bare_over_pass_{name}_{size}", ratio(both["bare"], both["pass"], of))
    if sizes == SIZES:
        page.write()
    else:
        page.show()


def _client(act: Callable[[], object]) -> Sample:
    spent = time.process_time()
    sample = timed(act)
    return replace(sample, cpu=time.process_time() - spent)  # without the server


def _wall(sample: Sample) -> float:
    return sample.wall


def _cpu(sample: Sample) -> float:
    return sample.cpu


def _added(size: int, bare: Series, passes: Series) -> list[str]:
    wall, cpu = passes.wall / bare.wall - 1, passes.cpu / bare.cpu - 1
    return [str(size), f"{wall:+.1%}", f"{cpu:+.0%}", f"{(passes.cpu - bare.cpu) / size * 1e6:.0f}"]


@contextmanager
def opened(sizes: Sequence[int]) -> Iterator[tuple[Lake, Settings, Callable[[], Recipe]]]:
    """A lake with a key for each size, its settings, and a maker of recipes that no key has captions of."""
    with tempfile.TemporaryDirectory() as folder, server(DELAY, CAPTION) as url:
        of = [
            f"warehouse={folder}/lake", "profile=laptop", "caption.engine=openai", "caption.in_flight=32",
            f"caption.endpoints.models.vlm=[{url}]", "log=plain",
        ]  # fmt: skip
        lake, settings = lake_of(of)
        for size in sizes:
            give(lake, settings, given(size), str(size))
        give(lake, settings, [], EMPTY)
        numbers = count()
        yield lake, settings, lambda: load_recipe(str(_recipe(Path(folder), next(numbers))))


def run_pass(lake: Lake, settings: Settings, recipe: Recipe, key: str) -> None:
    """Run the pass on a key."""
    execute(Run(pass_step(recipe, "dense"), lake, settings, key))


def ask(settings: Settings, recipe: Recipe, size: int) -> None:
    """Send the same requests without anything around them."""
    task = recipe.task("dense")
    model = Model("sample:teacher@0", task, lambda: Path("nowhere"), settings.caption.endpoints.models["vlm"])
    with open_engine(settings.caption, model) as engine:
        engine.start()
        for number, pair in enumerate(given(size)):
            while engine.pending >= settings.caption.in_flight:
                engine.finished()
            engine.submit(Request(number, task.prompt.messages({}, image=True), pair.image))
        while engine.pending:
            engine.finished()


@cache
def given(size: int) -> list[Pair]:
    """That many pairs of stage 1."""
    return [pair for pair in pairs(2 * size) if pair.split == "stage1"][:size]


def _recipe(folder: Path, number: int) -> Path:
    demo = yaml.safe_load(Path("config/recipes/demo.yaml").read_text(encoding="utf-8"))
    dense = {**demo["passes"][0], "sampling": {"max_tokens": 100 + number}}
    student = {**demo["student"], "lessons": [{"weight": 1, "answer": "dense"}]}
    only = {"models": {"vlm": demo["models"]["vlm"]}, "passes": [dense], "caption": "dense", "student": student}
    path = folder / f"bench{number}.yaml"
    path.write_text(yaml.safe_dump({**demo, **only}), encoding="utf-8")
    return path


if __name__ == "__main__":
    main()
