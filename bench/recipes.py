"""How much the machinery of passes adds to the bare engine, on the same requests: `python -m bench.recipes`.

Both send the requests of one `ask` pass to a server that answers after a fixed delay. The pass also reads rows, tames
and fills prompts, cleans answers, writes parts and commits.
"""

import statistics
import tempfile
import time
from pathlib import Path

import yaml

from kale_tasks.captions.local_passes import pass_step
from kale_tasks.engines.base import Model, Request, open_engine
from kale_tasks.lake.tables import Lake
from kale_tasks.recipes.recipe import Recipe, load_recipe
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import Settings
from tests.captions.world import KEY, give, pairs
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
        give(lake, settings, pairs(ROWS))
        bare, passes = [], []
        for number in range(ROUNDS):
            recipe = load_recipe(str(_recipe(Path(folder), number)))
            passes.append(_pass_seconds(lake, settings, recipe))
            bare.append(_bare_seconds(lake, settings, recipe))
    fast, whole = statistics.median(bare), statistics.median(passes)
    print(f"bare engine {fast:.2f} s, pass {whole:.2f} s, overhead {100 * (whole / fast - 1):+.1f} %")


def _pass_seconds(lake: Lake, settings: Settings, recipe: Recipe) -> float:
    started = time.monotonic()
    execute(Run(pass_step(recipe, "dense"), lake, settings, KEY))
    return time.monotonic() - started


def _bare_seconds(lake: Lake, settings: Settings, recipe: Recipe) -> float:
    task = recipe.task("dense")
    model = Model("sample:teacher@0", task, lambda: Path("nowhere"), settings.caption.endpoints.models["vlm"])
    given = [pair for pair in pairs(ROWS) if pair.split == "stage1"]
    started = time.monotonic()
    with open_engine(settings.caption, model) as engine:
        engine.start()
        for number, pair in enumerate(given):
            while engine.pending >= settings.caption.in_flight:
                engine.finished()
            engine.submit(Request(number, task.prompt.messages({}, image=True), pair.image))
        while engine.pending:
            engine.finished()
    return time.monotonic() - started


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
