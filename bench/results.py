"""Gather the ratios of bench/*.md into `bench/results/<date>.json`, with machine and versions, and into one table.

`make bench` runs this at its end. What loses comes first: a ratio below 1, where a peer is better or a cost grows, or
below its floor.
"""

import datetime
import json
import re
from pathlib import Path
from typing import Any

from bench.floors import BENCH, load_floors, measured
from kale_tasks.bench.measure import markdown

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


def main() -> None:
    """Write the file of today and print the table."""
    rows = gather()
    path = BENCH / "results" / f"{datetime.date.today()}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    shown = ("name", "ratio", "floor", "goal", "loses", "busy")
    print("\n".join(markdown(shown, [["-" if row[name] is None else row[name] for name in shown] for row in rows])))
    print(f"\n{sum(row['loses'] for row in rows)} of {len(rows)} ratios lose. Machines and versions: {path}")


if __name__ == "__main__":
    main()
