"""What the demonstration prints at its end: rows by step, texts against the truth, cost, some captions, next steps."""

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from kale_tasks.captions.steps import steps_of
from kale_tasks.cli.options import table_of
from kale_tasks.contract.registry import StepSpec
from kale_tasks.explore.look import look
from kale_tasks.explore.terminal import print_seen
from kale_tasks.lake.keys import ALL_KEYS
from kale_tasks.lake.storage.open import open_storage
from kale_tasks.lake.tables import Lake
from kale_tasks.models import students
from kale_tasks.recipes.files import recipe_name
from kale_tasks.settings import Settings
from kale_tasks.world.truth import scores

_SHOWN_CAPTIONS = 3
_ROWS_SAY = (
    "ingest keeps pairs that are clean and no copies; images those that can be had. The passes dense, fused and "
    "caption write about half of the captions (stage 1), a student that learns from these the rest (stage 2)."
)
_FACTS_SAY = (
    "A good caption has the facts of the alt-text (names, places, years), the visible details of a dense caption, and "
    "invents nothing."
)
_TITLES = {"fuse": "captions, stage 1", "distill": "models", "student": "captions, stage 2", "release": "files"}


def print_results(lake: Lake, settings: Settings, keys: Sequence[str], console: Console) -> None:
    """Print the tables, some captions, and where to look next."""
    for table in result_tables(lake, settings, keys):
        console.print(table)
    print_seen(console, look(lake, settings, keys[0], _SHOWN_CAPTIONS))
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
    program = sys.argv[0] if sys.argv[0].endswith("/kale") else "kale"
    yield f"Further commands on this lake: KALE_WAREHOUSE={settings.warehouse} KALE_LANDING={settings.landing} \\"
    yield f"    {program} look --key {lake.keys('pairs')[0] if lake.keys('pairs') else 'KEY'}"
    env = Path(settings.warehouse).parent / "env"
    yield f"Airflow with the settings of this demonstration: set -a; . {env}; set +a; make up"


def _rows(lake: Lake, settings: Settings, keys: Sequence[str]) -> Table:
    table = _explained("Rows kept by each step", _ROWS_SAY)
    table.add_column("step")
    for key in (*keys, ALL_KEYS):
        table.add_column(key, justify="right")
    for spec in steps_of(settings):
        kept = (_kept(lake, spec, key) for key in (*keys, ALL_KEYS))
        table.add_row(_TITLES.get(spec.label, spec.label), *kept)
    return table


def _kept(lake: Lake, spec: StepSpec, key: str) -> str:
    if not spec.applies_to(key):
        return "-"
    committed = lake.committed(spec.table, key, spec.slice)
    return f"{committed.rows:,}" if committed else ""


def _facts(lake: Lake, settings: Settings, keys: Sequence[str]) -> Table:
    found = [score.figures() for score in scores(lake, open_storage(settings.landing, settings.s3), keys)]
    table = table_of(found, "Texts against the truth of the sample world")
    table.caption = _FACTS_SAY
    return table


def _explained(title: str, says: str) -> Table:
    return Table(title=title, title_justify="left", caption=says, caption_justify="left")


def _cost(lake: Lake, settings: Settings) -> Table:
    table = Table(title="Cost of each step, from the ledger", title_justify="left")
    for name in ("step", "rows in", "seconds", "CPU seconds", "peak MB"):
        table.add_column(name, justify="left" if name == "step" else "right")
    costs: dict[str, dict[str, Any]] = defaultdict(lambda: defaultdict(float))
    columns = ["step", "verb", "rows_in", "seconds", "cpu_seconds", "peak_mb"]
    for line in lake.arrow("runs", columns=columns, where="verb != 'dag'").to_pylist():
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
