"""What the demonstration shows at its end: rows by step, facts carried and invented, and what it took."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any

from rich.table import Table

from kale_tasks.cli.options import table_of
from kale_tasks.contract.registry import STEPS, find
from kale_tasks.lake.storage.open import open_storage
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.status import state
from kale_tasks.settings import Settings
from kale_tasks.world.truth import scores


def results(lake: Lake, settings: Settings, keys: Sequence[str]) -> Iterator[Table]:
    """The tables, one after the other."""
    yield _rows(lake, settings, keys)
    yield _facts(lake, settings, keys)
    yield _cost(lake)


def _rows(lake: Lake, settings: Settings, keys: Sequence[str]) -> Table:
    table = Table("key", *STEPS, title="Rows kept by each step", title_justify="left")
    for key in (*keys, "all"):
        cells = [state(lake, settings, find(step), key) for step in STEPS]
        table.add_row(key, *(f"{cell['rows']:,}" if cell["rows"] is not None else "" for cell in cells))
    return table


def _facts(lake: Lake, settings: Settings, keys: Sequence[str]) -> Table:
    found = [score.figures() for score in scores(lake, open_storage(settings.landing, settings.s3), keys)]
    return table_of(found, "Texts against the truth of the sample world")


def _cost(lake: Lake) -> Table:
    table = Table(title="What it took, as the ledger has it", title_justify="left")
    for name in ("step", "rows in", "seconds", "CPU seconds", "peak MB"):
        table.add_column(name, justify="left" if name == "step" else "right")
    spent: dict[str, dict[str, Any]] = defaultdict(lambda: defaultdict(float))
    columns = ["step", "key", "verb", "rows_in", "seconds", "cpu_seconds", "peak_mb", "started_at"]
    lines = sorted(lake.arrow("runs", columns=columns, where="verb != 'dag'").to_pylist(), key=itemgetter("seconds"))
    # Lines of one process begin at one moment, and the last of them counts the others' time too.
    for row in {(line["step"], line["key"], line["started_at"]): line for line in lines}.values():
        of = spent[row["step"]]
        of["rows"] += row["rows_in"] if row["verb"] == "commit" else 0
        of["seconds"] += row["seconds"]
        of["cpu"] += row["cpu_seconds"]
        of["peak"] = max(of["peak"], row["peak_mb"])
    for step in (step for step in STEPS if step in spent):
        of = spent[step]
        table.add_row(step, f"{of['rows']:,.0f}", f"{of['seconds']:.1f}", f"{of['cpu']:.1f}", f"{of['peak']:,.0f}")
    return table
