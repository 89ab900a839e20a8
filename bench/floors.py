"""Compare the ratios in bench/*.md with those that bench/floors.yaml promises.

`python -m bench.floors` reads the newest tables; with `--run` it runs the scripts first. It fails when a ratio is
missing, was measured on a busy machine, or is below its floor. A ratio below its goal is reported.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

BENCH = Path(__file__).parent
_RATIO = re.compile(r"^\| `([\w.]+)` \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| (idle|busy) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Floor:
    """A ratio that must not fall below a number."""

    name: str  # script and ratio: `fetch.images_per_cpu_second`
    floor: float
    why: str
    goal: float | None = None
    shown: str = ""  # its row in README.md, if any

    @property
    def script(self) -> str:
        """The script in bench/ that measures it."""
        return self.name.partition(".")[0]


def load_floors(path: Path = BENCH / "floors.yaml") -> list[Floor]:
    """Every promised ratio."""
    return [Floor(name, **fields) for name, fields in yaml.safe_load(path.read_text()).items()]


def measured(folder: Path = BENCH) -> dict[str, tuple[float, bool]]:
    """Each ratio of the tables and whether the machine was busy."""
    pages = {path.stem: path.read_text() for path in folder.glob("*.md")}
    found = ((script, match) for script, page in pages.items() for match in _RATIO.finditer(page))
    return {f"{script}.{match[1]}": (float(match[2]), match[5] == "busy") for script, match in found}


def failures(floors: list[Floor], ratios: Mapping[str, tuple[float, bool]]) -> Iterator[str]:
    """One line for each promise that is not kept."""
    for floor in floors:
        value, busy = ratios.get(floor.name, (0.0, False))
        if floor.name not in ratios:
            yield f"{floor.name}: not in bench/{floor.script}.md. Run `python -m bench.{floor.script}`."
        elif busy:
            yield f"{floor.name}: measured on a busy machine. Run `python -m bench.{floor.script}` on an idle one."
        elif value < floor.floor:
            yield f"{floor.name}: {value:.3f} is below its floor of {floor.floor:.3f} ({floor.why})"


def main() -> None:
    """Compare, print a table, and exit with 1 if a promise is not kept."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--run", action="store_true", help="run the scripts first")
    floors = load_floors()
    if options.parse_args().run:
        for script in dict.fromkeys(floor.script for floor in floors):
            subprocess.run([sys.executable, "-m", f"bench.{script}"], cwd=BENCH.parent, check=True)
    ratios = measured()
    for floor in floors:
        value = f"{ratios[floor.name][0]:.3f}" if floor.name in ratios else "-"
        below = floor.goal is not None and floor.name in ratios and ratios[floor.name][0] < floor.goal
        print(f"{floor.name:45} {value:>7}  floor {floor.floor:.3f}" + (f"  below its goal of {floor.goal}" * below))
    if failed := list(failures(floors, ratios)):
        raise SystemExit("\n".join(["", *failed]))


if __name__ == "__main__":
    main()
