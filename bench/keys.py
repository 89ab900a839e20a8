"""What commands cost beside ever more committed keys: status, plan, commit and ingest of one key of 20,000 rows.

    python -m bench.keys --keys 10 100 300 1000

The lake grows by real commits of tiny keys, in one process; `--passes` commits as many partitions of `texts` for each
key, too. The table goes to bench/keys.md.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from bench.frame import Page, Sample, Series, process, ratio, timed
from kale_tasks.contract.step import Input, Step
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.ingest.step import Ingest
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute, plan
from kale_tasks.settings import Settings, load

ROWS = 20_000
_FIRST = date(2020, 1, 1)
_AT_ONCE = 32
_OFF = (
    "ingest.workers=2", "ingest.dedup.near=false", "ingest.rules.languages=[]", "ingest.lists.evaluation=null",
    "parts.part_rows=5000",
)  # fmt: skip
_VERBS = ("status", "plan", "commit", "ingest")


class Tiny(Step):
    """Commits one row for a key, or for a pass of a key, with its entry in the index."""

    def __init__(self, pass_: str = "") -> None:
        self.name = pass_ or "ingest"  # type: ignore[misc]
        self.table = "texts" if pass_ else "pairs"  # type: ignore[misc]
        self.slice = {"pass": pass_} if pass_ else {}  # type: ignore[misc]
        self.also = () if pass_ else ("dedup_index",)  # type: ignore[misc]

    def config(self, settings: Settings) -> Mapping[str, Any]:
        return {}

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        return {}

    def chunks(self, run: Run) -> Sequence[Chunk]:
        return [Chunk(index=0, first_part=0, parts=1, stop=1)]

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        uid = f"{abs(hash(run.key)):032x}"[:32]
        row: dict[str, list[Any]] = {"uid": [uid], "key": [run.key], "text": ["a small row"]}
        if self.slice:
            row["pass"] = [self.name]
            yield Part(0, pa.table(row), 1)
            return
        row |= {"alt_text": ["a small row"], "split": ["stage1"], "url": [f"https://{run.key}.example/1.jpg"]}
        entry = {"uid": [uid], "key": [run.key], "kind": ["uid"], "hash": [int(uid[-15:], 16)]}
        yield Part(0, pa.table(row), 1, also={"dedup_index": pa.table(entry)})


def grow(lake: Lake, settings: Settings, start: int, stop: int, passes: int) -> None:
    """Commit the keys from start to stop."""
    for number in range(start, stop):
        for pass_ in ("", *(f"pass-{i}" for i in range(passes))):
            execute(Run(Tiny(pass_), lake, settings, key_of(number)))


def key_of(number: int) -> str:
    """Return the name of a key: one for each day."""
    return str(_FIRST + timedelta(days=number))


def land(settings: Settings, key: str, salt: str, rows: int = ROWS) -> None:
    """Deliver rows for a key."""
    folder = Path(settings.landing, key)
    folder.mkdir(parents=True, exist_ok=True)
    lines = (
        {"url": f"https://{salt}.example/{i}.jpg", "text": f"A view of the harbour number {i} from the hill {salt}"}
        for i in range(rows)
    )
    (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def measure(sets: Sequence[str], verb: str, number: int) -> Sample:
    """Measure one command on a key that is newer than all others."""
    settings = load(list(sets), environ={}).settings
    key = key_of(number)
    if verb == "status":
        command = [sys.executable, "-m", "kale_tasks", "status", "--json"]
        return process([*command, *(word for value in sets for word in ("--set", value))])[0]
    lake = Lake(settings)
    if verb == "plan":
        return timed(lambda: plan(Run(Ingest(), lake, settings, key, again="plan")))
    if verb == "commit":
        return timed(lambda: grow(lake, settings, number + 1, number + 2, 0))
    return timed(lambda: execute(Run(Ingest(), lake, settings, key, again="ingest")))


def commit_one(task: tuple[list[str], int]) -> None:
    """Commit one tiny key in a process of its own."""
    settings = load(task[0], environ={}).settings
    grow(Lake(settings), settings, task[1], task[1] + 1, 0)


def at_once(sets: Sequence[str], first: int, many: int) -> Sample:
    """Measure commits of many keys at once."""
    with ProcessPoolExecutor(min(many, 2 * (os.cpu_count() or 1))) as pool:
        list(pool.map(abs, range(8)))  # the processes are there before the clock starts
        tasks = [(list(sets), first + i) for i in range(many)]
        return timed(lambda: list(pool.map(commit_one, tasks)) and None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, nargs="+", default=[10, 100, 300, 1000])
    parser.add_argument("--passes", type=int, default=0, help="partitions of `texts` of each key")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--at-once", type=int, default=_AT_ONCE, help="commits at once; 0: none")
    of = parser.parse_args()
    name = f"keys-{of.passes}" if of.passes else "keys"
    page = Page(name, "The cost of a command beside many keys", str(__doc__), ["pyiceberg", "pyarrow"])
    found: dict[int, dict[str, Series]] = {}
    with tempfile.TemporaryDirectory() as place:
        sets = [f"warehouse={place}/lake", f"landing={place}/landing", *_OFF]
        settings = load(sets, environ={}).settings
        lake, grown = Lake(settings), 0
        for keys in of.keys:
            spent = timed(lambda start=grown, stop=keys: grow(lake, settings, start, stop, of.passes))  # type: ignore[misc]
            print(f"{keys} keys: {spent.cpu:.0f} CPU seconds to grow", flush=True)
            grown = keys
            rounds: dict[str, list[Sample]] = {verb: [] for verb in _VERBS}
            for turn in range(of.rounds):
                number = 3000 + keys + 10 * turn
                land(settings, key_of(number), f"{keys}x{turn}")
                for verb in _VERBS:
                    rounds[verb].append(measure(sets, verb, number))
            found[keys] = {verb: Series(samples) for verb, samples in rounds.items()}
            if of.at_once:
                found[keys][f"{of.at_once} commits at once"] = Series([at_once(sets, 6000 + keys, of.at_once)])
    page.table(
        ("keys", "command", "wall seconds", "CPU seconds", "machine"),
        [(keys, verb, *series.cells) for keys, verbs in found.items() for verb, series in verbs.items()],
    )
    for verb in _VERBS:
        for keys in of.keys[1:]:
            page.ratio(f"{verb}_{keys}", ratio(found[keys][verb], found[of.keys[0]][verb], lambda sample: sample.cpu))
    page.write()


if __name__ == "__main__":
    main()
