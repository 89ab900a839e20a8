"""What each shipped recipe asks, and what that costs, on the same images: `python -m bench.recipe_costs`.

Writes bench/recipe_costs.md. With a NUMBER [RECIPES] it takes that many images and writes nothing.
"""

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from bench.frame import Page
from kale_tasks.bench.measure import timed
from kale_tasks.captions.steps import pass_specs
from kale_tasks.lake.tables import Lake
from kale_tasks.recipes.files import shipped_recipes
from kale_tasks.settings import Settings
from kale_tasks.world import describe
from tests.captions.neighbour_scripts import FILLER, GERMAN, nodes_of
from tests.captions.scripted import SEEDS, Call, World, as_json, joins
from tests.captions.world import give, run_captions
from tests.engines.server import completion, prompt_of, running
from tests.lakes import lake_of

IMAGES, LETTERS, IMAGE_TOKENS = 256, 4, 256
PRICE_IN, PRICE_OUT = 0.2, 0.6  # dollars for a million tokens, to compare recipes by
ABOUT = f"""
Each recipe on the same {IMAGES} images of the sample world, on a key of its own: no texts are shared. The models are
scripts that answer at once; a token is {LETTERS} letters of a prompt or an answer, an image {IMAGE_TOKENS} tokens.
Requests and tokens are those of the recipe's prompts; how long the answers of real models are, is theirs. *cost*: at
{PRICE_IN} dollars for a million tokens of prompts and {PRICE_OUT} for those of answers. *seconds*: this machine, all
passes and the assembly, with the packaged experts and scorers, without the time of models; *experts* are part of it.
"""


def main() -> None:
    """Measure and write bench/recipe_costs.md."""
    number = int(sys.argv[1]) if sys.argv[1:] else IMAGES
    recipes = sys.argv[2:] or [name for name in shipped_recipes() if name != "demo"]
    page = Page("recipe_costs", "What recipes ask and cost", ABOUT)
    with opened(number) as (lake, settings, images):
        rows = [[name, *_cells(lake, settings, name, images)] for name in recipes]
    header = ["recipe", "passes", "requests an image", "tokens in", "tokens out", "cost of a million images",
              "seconds", "experts", "CPU s"]  # fmt: skip
    page.table(header, rows)
    if number == IMAGES:
        page.write()
    else:
        page.show()


@contextmanager
def opened(number: int) -> Iterator[tuple[Lake, Settings, World]]:
    """A lake with a server that answers, and the images."""
    world = World(-(-number // len(SEEDS)))
    world.pairs = world.pairs[:number]
    world.script = script

    async def answer(request: web.Request) -> web.Response:
        return _counted(await request.json(), world)

    routes = [web.post("/v1/chat/completions", answer)]
    with tempfile.TemporaryDirectory() as folder, running(routes) as url:
        served = [f"caption.endpoints.models.{name}=[{url}]" for name in ("vlm", "llm")]
        prices = [f"caption.token_price_in={PRICE_IN}", f"caption.token_price_out={PRICE_OUT}"]
        sets = [*served, *prices, "images.decode.max_side=768", "parts.part_rows=64", "log=plain"]
        yield *lake_of([f"warehouse={folder}/lake", "profile=laptop", "caption.engine=openai", *sets]), world


def script(call: Call) -> str:
    """Answer any prompt of a shipped recipe."""
    if '"unsupported"' in call.prompt:
        return as_json(unsupported=[])
    if '"choice"' in call.prompt:
        return as_json(choice=2, reason="It names every colour and place.")
    if '"nodes"' in call.prompt:
        return as_json(nodes=[{"id": str(n), "text": text} for n, text in enumerate(nodes_of(call.scene))], edges=[])
    if "Translate" in call.prompt:
        return GERMAN
    if call.prompt.startswith("Describe this image in ") and call.prompt.split()[4].isdigit():
        return " ".join(FILLER[: int(call.prompt.split()[4])]).capitalize() + "."
    text = describe.dense(call.scene) if call.pair else joins(call)
    return text or call.prompt.partition(": ")[2].partition("\n")[0]


def _counted(body: Mapping[str, Any], world: World) -> web.Response:
    response = world.reply(dict(body))
    said = json.loads(response.text or "{}")["choices"][0]["message"]["content"]
    images = json.dumps(body["messages"]).count('"image_url":')
    letters = sum(len(prompt_of({"messages": [message]})) for message in body["messages"])
    usage = {"prompt_tokens": letters // LETTERS + images * IMAGE_TOKENS, "completion_tokens": len(said) // LETTERS}
    return web.json_response({**json.loads(completion(said).text or "{}"), "usage": usage})


def _cells(lake: Lake, settings: Settings, name: str, world: World) -> list[object]:
    give(lake, settings, world.pairs, name)
    of_recipe = settings.with_values({"caption": {"recipe": name}})
    took = timed(lambda: run_captions(lake, of_recipe, name))
    spent = Counter[str]()
    for row in lake.arrow("runs", name).to_pylist():
        if row["verb"] == "work":
            spent.update({key: value for key, value in json.loads(row["metrics"] or "{}").items() if value})
    number = len(world.pairs)
    return [
        len(pass_specs(name)), f"{spent['requests'] / number:.2f}", f"{spent['tokens_in'] / number:.0f}",
        f"{spent['tokens_out'] / number:.0f}", f"{spent['cost'] / number * 1e6:.0f} dollars", f"{took.wall:.1f}",
        f"{spent['expert_seconds']:.1f}", f"{took.cpu:.1f}",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
