"""Gather the ratios of bench/*.md into `bench/results/<date>.json`, with machine and versions, and into one table.

`make bench` runs this at its end. What loses comes first: a ratio below 1, where a peer is better or a cost grows, or
below its floor. README.md shows the ratios that bench/floors.yaml has a row for; this puts them there, and renews what
rates.yaml and docs/scale.md quote.
"""

import datetime
import json
import re
from pathlib import Path
from typing import Any

from bench import quotes, scale
from bench.floors import BENCH, load_floors, measured
from kale_tasks.bench.measure import markdown

README = BENCH.parent / "README.md"
_SHOWN = ("ratio", "of what; beside what", "")
_MACHINE = re.compile(r"^Machine: (.*?)(?:\. Medians|\n\n)", re.MULTILINE | re.DOTALL)


def gather(folder: Path = BENCH) -> list[dict[str, Any]]:
    """Every ratio with its floor and goal and the machine that it was measured on; the losing ones first."""
    floors = {floor.name: floor for floor in load_floors()}
    rows = []
    for name, (ratio, busy) in measured(folder).items():
        machine = _MACHINE.search((folder / f"{name.partition('.')[0]}.md").read_text("utf-8"))
        of = floors.get(name)
        loses = ratio < (of.floor if of else 1.0) or ratio < 1.0
        rows.append({
            "name": name, "ratio": ratio, "floor": of.floor if of else None, "goal": of.goal if of else None,
            "loses": loses, "busy": busy, "machine": " ".join(machine[1].split()) if machine else None,
        })  # fmt: skip
    return sorted(rows, key=lambda row: (not row["loses"], row["name"]))


def shown(rows: list[dict[str, Any]]) -> str:
    """The table of README.md: the largest ratio first, and those that lose marked."""
    labels = {floor.name: floor.shown for floor in load_floors() if floor.shown}
    best_first = sorted((row for row in rows if row["name"] in labels), key=lambda row: -row["ratio"])
    cells = [[f"{row['ratio']:.2f}", labels[row["name"]], "loses" if row["loses"] else ""] for row in best_first]
    return "\n".join(markdown(_SHOWN, cells))


def put_into_readme(rows: list[dict[str, Any]]) -> None:
    """Replace the table of README.md."""
    page, table = README.read_text("utf-8"), shown(rows)
    before, head, after = page.partition(table.partition("\n")[0])
    rest = (head + after).partition("\n\n")[2]
    README.write_text(f"{before}{table}\n\n{rest}", "utf-8")


def renew() -> None:
    """Renew the rates of `kale estimate` and the figures of docs/scale.md."""
    quotes.RATES.write_text(quotes.renewed_rates(quotes.RATES.read_text("utf-8")), "utf-8")
    page = quotes.renewed_page(quotes.PAGE.read_text("utf-8"))
    quotes.PAGE.write_text(scale.put_into(page), "utf-8")


def main() -> None:
    """Write the file of today and the table of README.md, and print the table of all."""
    rows = gather()
    path = BENCH / "results" / f"{datetime.date.today()}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    put_into_readme(rows)
    renew()
    names = ("name", "ratio", "floor", "goal", "loses", "busy")
    print("\n".join(markdown(names, [["-" if row[name] is None else row[name] for name in names] for row in rows])))
    print(f"\n{sum(row['loses'] for row in rows)} of {len(rows)} ratios lose. Machines and versions: {path}")


if __name__ == "__main__":
    main()
