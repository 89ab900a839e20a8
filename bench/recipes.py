"""How much the machinery of passes adds to the bare engine, on the same requests: `python -m bench.recipes`.

Both send the requests of one `ask` pass to a server that answers after a fixed delay. The pass also reads rows, tames
and fills prompts, cleans answers, writes parts and commits. CPU seconds are those of this process, the server included:
unlike the time, they are comparable on a busy machine. `scheduler` is what plan, seal and commit of a pass without rows
cost: the share that does not grow with the rows.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import yaml

from kale_tasks.captions.local_passes import pass_step
from kale_tasks.engines.base import Model, Request, open_engine
from kale_tasks.lake.tables import Lake
from kale_tasks.recipes.recipe import Recipe, load_recipe
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import Settings
from tests.captions.world import KEY, Pair, give, pairs
from tests.engines.server import completion, serving
from tests.lakes import lake_of

ROWS, DELAY, ROUNDS = 2000, 0.25, 3
CAPTION = "A small red tower is at the left. The background is plain white."


def main() -> None:
    """Print both times and the overhead."""
    with tempfile.TemporaryDirectory() as folder, serving(DELAY, lambda body: completion(CAPTION)) as server:
        server.keep_bodies = False
        of = [
            f"warehouse={folder}/lake", "profile=laptop", "caption.engine=openai", "caption.in_flight=32",
            f"caption.endpoints.models.vlm=[{server.url}]", "log=plain",
        ]  # fmt: skip
        lake, settings = lake_of(of)
        give(lake, settings, _pairs())
        bare, passes = [], []
        for number in range(ROUNDS):
            recipe = load_recipe(str(_recipe(Path(folder), number)))
            passes.append(_measured(lambda of=recipe: _run_pass(lake, settings, of)))  # type: ignore[misc]
            bare.append(_measured(lambda of=recipe: _ask(settings, of)))  # type: ignore[misc]
        give(lake, settings, [], "empty")
        fixed = _measured(lambda: _run_pass(lake, settings, recipe, "empty"))
    for name, at in (("time", 0), ("CPU", 1)):
        fast, whole = (statistics.median(found[at] for found in kind) for kind in (bare, passes))
        print(
            f"{name}: bare engine {fast:.2f} s, pass {whole:.2f} s, overhead {100 * (whole / fast - 1):+.1f} %, "
            f"scheduler {fixed[at]:.2f} s"
        )


def _measured(do: Callable[[], object]) -> tuple[float, float]:
    """Seconds and CPU seconds."""
    started, spent = time.monotonic(), time.process_time()
    do()
    return time.monotonic() - started, time.process_time() - spent


def _run_pass(lake: Lake, settings: Settings, recipe: Recipe, key: str = KEY) -> None:
    execute(Run(pass_step(recipe, "dense"), lake, settings, key))


def _ask(settings: Settings, recipe: Recipe) -> None:
    task = recipe.task("dense")
    model = Model("sample:teacher@0", task, lambda: Path("nowhere"), settings.caption.endpoints.models["vlm"])
    given = [pair for pair in _pairs() if pair.split == "stage1"]
    with open_engine(settings.caption, model) as engine:
        engine.start()
        for number, pair in enumerate(given):
            while engine.pending >= settings.caption.in_flight:
                engine.finished()
            engine.submit(Request(number, task.prompt.messages({}, image=True), pair.image))
        while engine.pending:
            engine.finished()


@cache
def _pairs() -> list[Pair]:
    return pairs(ROWS)


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
