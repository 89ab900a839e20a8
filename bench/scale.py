"""What 1 M, 100 M and 1 B pairs take, by the rates of `kale estimate`: the tables of docs/scale.md.

`python -m bench.results` puts them there.
"""

from collections.abc import Iterator

from kale_tasks.bench.measure import markdown
from kale_tasks.explore.estimate import Estimate, estimate
from kale_tasks.recipes.passes import AskPass
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.settings import load

SIZES, RECIPES = {"1 M": 1e6, "100 M": 1e8, "1 B": 1e9}, ("kale", "densefusion")
GPUS, CORES, PRICE = 64, 256, 2.5
_HEADER = (
    "landing rows", "recipe", "CPU-hours", "GPU-hours", "dollars", "TB", "requests to the web", "to models", "days",
)  # fmt: skip


def of_recipe(recipe: str, rows: float) -> Estimate:
    """The estimate of a recipe for a number of landing rows."""
    settings = load([f"caption.recipe={recipe}", f"caption.device_hour_price={PRICE}"], environ={}).settings
    return estimate(settings, None, rows, {}, (GPUS, CORES))


def tables() -> str:
    """The rates that the estimate uses, and what they make of each size."""
    return "\n".join([*markdown(_HEADER, _rows()), "", "By these rates:", "", *_rates()])


def put_into(page: str) -> str:
    """The page with the tables that the present rates give."""
    new = tables()
    before, _, after = page.partition(new.partition("\n")[0])
    return f"{before}{new}\n\n## {after.partition('## ')[2]}"


def _rows() -> Iterator[list[object]]:
    for recipe in RECIPES:
        asks = {one.name for one in load_recipe(recipe).passes if isinstance(one, AskPass)} | {"student"}
        for size, rows in SIZES.items():
            made = of_recipe(recipe, rows)
            total, by_step = made.as_json()["total"], {line.step: line for line in made.lines}
            models = sum(line.rows for step, line in by_step.items() if step in asks)
            figures = (total["CPU-hours"], total["GPU-hours"], total["dollars"])
            yield [
                size, recipe, *(f"{one:,.0f}" for one in figures), f"{total['GB'] / 1e3:,.2f}",
                f"{by_step['images'].rows:,.0f}", f"{models:,.0f}", f"{made.days:,.1f}",
            ]  # fmt: skip


def _rates() -> list[str]:
    found = {rate.partition(" = ")[0]: rate for recipe in RECIPES for rate in of_recipe(recipe, 1).assumed}
    return [f"- `{name}`{rate.removeprefix(name)}" for name, rate in sorted(found.items())]
