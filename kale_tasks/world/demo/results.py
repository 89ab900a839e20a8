"""What the demonstration prints at its end: rows by step, texts against the truth, cost, some captions, next steps."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from kale_tasks.captions.steps import steps_of
from kale_tasks.cli.options import table_of
from kale_tasks.contract.registry import StepSpec
from kale_tasks.lake.keys import ALL_KEYS
from kale_tasks.lake.storage.open import open_storage
from kale_tasks.lake.tables import Lake
from kale_tasks.models import students
from kale_tasks.recipes.files import recipe_name
from kale_tasks.settings import Settings
from kale_tasks.world.truth import scores

_SHOWN_CAPTIONS = 3


def print_results(lake: Lake, settings: Settings, keys: Sequence[str], console: Console) -> None:
    """Print the tables, some captions, and where to look next."""
    for table in result_tables(lake, settings, keys):
        console.print(table)
    for row in _some_captions(lake, keys):
        console.print(f"Alt-text: {row['alt_text']}\nCaption:  {row['caption']}\n", markup=False, highlight=False)
    for line in next_steps(lake, settings):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def result_tables(lake: Lake, settings: Settings, keys: Sequence[str]) -> Iterator[Table]:
    """Yield the tables in the order in which they are printed."""
    yield _rows(lake, settings, keys)
    yield _facts(lake, settings, keys)
    yield _cost(lake, settings)


def next_steps(lake: Lake, settings: Settings) -> Iterator[str]:
    """Say where the release and the lake are; or why there is no release or no promoted student."""
    if not students.promoted(lake, recipe_name(settings.caption.recipe)):
        refused = students.versions(lake)
        reason = refused[-1].verdict if refused else "there were too few captions to train one."
        yield f"No student was promoted: {reason}"
    target = Path(str(settings.publish.target))
    if target.exists():
        yield f"Release: {target}"
    else:
        yield "No release was published: it needs the captions of both stages, and stage 2 needs a promoted student."
    yield f"Lake: KALE_WAREHOUSE={settings.warehouse} KALE_LANDING={settings.landing} kale status"


def _rows(lake: Lake, settings: Settings, keys: Sequence[str]) -> Table:
    steps = steps_of(settings)
    table = Table("key", *(spec.label for spec in steps), title="Rows kept by each step", title_justify="left")
    for key in (*keys, ALL_KEYS):
        table.add_row(key, *(_kept(lake, spec, key) for spec in steps))
    return table


def _kept(lake: Lake, spec: StepSpec, key: str) -> str:
    if not spec.applies_to(key):
        return "-"
    committed = lake.committed(spec.table, key, spec.slice)
    return f"{committed.rows:,}" if committed else ""


def _facts(lake: Lake, settings: Settings, keys: Sequence[str]) -> Table:
    found = [score.figures() for score in scores(lake, open_storage(settings.landing, settings.s3), keys)]
    return table_of(found, "Texts against the truth of the sample world")


def _cost(lake: Lake, settings: Settings) -> Table:
    table = Table(title="Cost of each step, from the ledger", title_justify="left")
    for name in ("step", "rows in", "seconds", "CPU seconds", "peak MB"):
        table.add_column(name, justify="left" if name == "step" else "right")
    costs: dict[str, dict[str, Any]] = defaultdict(lambda: defaultdict(float))
    columns = ["step", "key", "verb", "rows_in", "seconds", "cpu_seconds", "peak_mb", "started_at"]
    lines = sorted(lake.arrow("runs", columns=columns, where="verb != 'dag'").to_pylist(), key=itemgetter("seconds"))
    # The lines of one process have the same start, and the last one includes the time of the others.
    for line in {(line["step"], line["key"], line["started_at"]): line for line in lines}.values():
        cost = costs[line["step"]]
        cost["rows"] += line["rows_in"] if line["verb"] == "commit" else 0
        cost["seconds"] += line["seconds"]
        cost["cpu"] += line["cpu_seconds"]
        cost["peak"] = max(cost["peak"], line["peak_mb"])
    for spec in (spec for spec in steps_of(settings) if spec.name in costs):
        cost = costs[spec.name]
        table.add_row(
            spec.label, f"{cost['rows']:,.0f}", f"{cost['seconds']:.1f}", f"{cost['cpu']:.1f}", f"{cost['peak']:,.0f}"
        )
    return table


def _some_captions(lake: Lake, keys: Sequence[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = lake.arrow("captions", keys[0], ["alt_text", "caption"]).slice(0, 50).to_pylist()
    return [row for row in rows if row["alt_text"] and len(row["alt_text"]) < 200][:_SHOWN_CAPTIONS]
