"""What commands cost beside ever more committed keys: status, and plan, commit and ingest of a key of 20,000 rows.

    python -m bench.keys

The lake grows by real commits of small keys that depend on the index of earlier keys, as ingest does. Then each key
gets 12 partitions of `texts` and their lines in the ledger; these are written by a transaction for many of them, to be
done in time, and the pass that is measured is a real commit. `kale status` and `kale plan` are commands with their
start, all else is measured inside a process.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.frame import Page, process
from kale_tasks.bench.measure import Ratio, Sample, Series, ratio, timed
from kale_tasks.contract.step import Input, Step
from kale_tasks.contract.types import Chunk, Part, Plan
from kale_tasks.ingest.step import Ingest
from kale_tasks.lake.commit import _data_files
from kale_tasks.lake.manifests import overwrite
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.tables import COMMITTED, Committed, Lake
from kale_tasks.lake.times import utc_now
from kale_tasks.runner.run import Run
from kale_tasks.runner.seal import seal
from kale_tasks.runner.verbs import commit, execute, plan, work
from kale_tasks.settings import Settings, load

ROWS = 20_000
_FIRST = date(2020, 1, 1)
_TOGETHER = 20  # keys that get their passes in one transaction
_OFF = (
    "ingest.workers=1", "ingest.dedup.near=false", "ingest.rules.languages=[]", "ingest.lists.evaluation=null",
    "parts.part_rows=5000",
)  # fmt: skip


class Small(Step):
    """Commits one row for a key, or for a pass of a key, with its entry in the index."""

    def __init__(self, pass_: str = "") -> None:
        self.name = pass_ or "ingest"  # type: ignore[misc]
        self.table = "texts" if pass_ else "pairs"  # type: ignore[misc]
        self.slice = {"pass": pass_} if pass_ else {}  # type: ignore[misc]
        self.also = () if pass_ else ("dedup_index",)  # type: ignore[misc]
        # The index of earlier keys, which its commit then need not compare it with again.
        self.side_table = "" if pass_ else "dedup_index"  # type: ignore[misc]

    def config(self, settings: Settings) -> Mapping[str, Any]:
        return {}

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        return {}

    def chunks(self, run: Run) -> Sequence[Chunk]:
        return [Chunk(index=0, first_part=0, parts=1, stop=1)]

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        row = _row(run.key, self.name if self.slice else "")
        if self.slice:
            yield Part(0, row, 1)
            return
        uid = row["uid"][0].as_py()
        entry = {"uid": [uid], "key": [run.key], "kind": ["uid"], "hash": [int(uid[-15:], 16)]}
        yield Part(0, row, 1, also={"dedup_index": pa.table(entry)})


def _row(key: str, pass_: str) -> pa.Table:
    row = {"uid": f"{int(key.replace('-', '')):032x}", "key": key, "text": "a small row"}
    row |= (
        {"pass": pass_, "item": "", "n": 0}
        if pass_
        else {"alt_text": row["text"], "split": "stage1", "url": f"https://{key}.example/1"}
    )
    return pa.Table.from_pylist([row])


def grow(lake: Lake, settings: Settings, start: int, stop: int) -> None:
    """Commit the keys from start to stop."""
    for number in range(start, stop):
        execute(Run(Small(), lake, settings, key_of(number)))


def add_passes(lake: Lake, keys: Sequence[str], passes: int) -> None:
    """Add partitions of `texts` and of the ledger to keys, some keys at a time, as commits of passes leave them."""
    for table, column in (("texts", "pass"), ("runs", "step")):
        for some in batched(keys, _TOGETHER):
            names = [(key, f"pass-{i:012x}") for key in some for i in range(passes)]
            paths = [_file(lake, table, key, name) for key, name in names]
            iceberg = lake.table(table)
            with iceberg.transaction() as change:
                producer = overwrite(change, {"kale.step": "passes", "kale.key": some[0]})
                places = [COMMITTED + Partition.of(table, key, {column: name}).name for key, name in names]
                records = [_record(name, producer.snapshot_id) for _, name in names]
                change.set_properties(dict(zip(places, records, strict=True)))
                with producer:
                    for file in _data_files(lake, iceberg, paths):
                        producer.append_data_file(file)


def batched(keys: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Yield the keys, some at a time."""
    return (keys[start : start + size] for start in range(0, len(keys), size))


def _file(lake: Lake, table: str, key: str, name: str) -> str:
    path = f"{table}/key={key}/{name}/part-00000.parquet"
    rows = _row(key, name).to_pylist() if table == "texts" else [_line(key, name)]
    Path(lake.storage.root, path).parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=TABLES[table].arrow), Path(lake.storage.root, path))
    return path


def _line(key: str, step: str) -> dict[str, Any]:
    return {"key": key, "step": step, "fingerprint": "f" * 20, "verb": "commit"}


def _record(name: str, snapshot: int) -> str:
    long, short = (name * 2)[:20], name[-12:]
    inputs = {"images": long, "pairs": long, "dense-0123456789ab": long}
    known = Committed(long, long, 1, 1, snapshot, utc_now(), 1, {"not_stage1": 7}, 0, inputs)
    return Committed(
        **{**vars(known), "identity": long, "origin": short, "commit": short, "seal_id": long}
    ).as_property()


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


def measure(sets: Sequence[str], number: int, *, passes: bool) -> dict[str, Sample]:
    """Measure each command once, on keys that are newer than all others."""
    settings = load(list(sets), environ={}).settings
    lake, key = Lake(settings), key_of(number)
    land(settings, key, f"key{number}")
    found = {"kale status": _command(sets, "status", "--json")}
    land(settings, key_of(number + 2), f"key{number + 2}")
    found["kale plan"] = _command(sets, "plan", "ingest", "--key", key_of(number + 2))
    planned: list[tuple[Run, Plan]] = []

    def make_plan() -> None:
        run = Run(Ingest(), lake, settings, key)
        planned.append((run, plan(run)))

    found["plan"] = timed(make_plan)
    run, made = planned[0]
    work(run, made.chunks[0])
    seal(run, made)
    found["commit"] = timed(lambda: commit(run, made) and None)
    found["commit again"] = _again(lake, settings, key)
    if passes:
        found["a pass"] = timed(lambda: execute(Run(Small("pass-0123456789ab"), lake, settings, key)) and None)
    land(settings, key_of(number + 1), f"key{number + 1}")
    found["ingest"] = timed(lambda: execute(Run(Ingest(), lake, settings, key_of(number + 1))) and None)
    return found


def _command(sets: Sequence[str], *words: str) -> Sample:
    """Measure a command as people and Airflow's tasks run it: with its start."""
    options = [word for value in sets for word in ("--set", value)]
    return process([sys.executable, "-m", "kale_tasks", *words, *options])[0]


def _again(lake: Lake, settings: Settings, key: str) -> Sample:
    """Measure a commit that replaces the rows of a key."""
    run = Run(Ingest(), lake, settings, key, again="again")
    made = plan(run)
    work(run, made.chunks[0])
    seal(run, made)
    return timed(lambda: commit(run, made) and None)


def commit_one(task: tuple[list[str], int]) -> None:
    """Commit one small key in a process of its own."""
    settings = load(task[0], environ={}).settings
    grow(Lake(settings), settings, task[1], task[1] + 1)


def at_once(sets: Sequence[str], first: int, many: int) -> Sample:
    """Measure commits of many keys at once."""
    with ProcessPoolExecutor(min(many, 2 * (os.cpu_count() or 1))) as pool:
        list(pool.map(abs, range(8)))  # the processes are there before the clock starts
        tasks = [(list(sets), first + i) for i in range(many)]
        return timed(lambda: list(pool.map(commit_one, tasks)) and None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, nargs="+", default=[10, 100, 300, 1000])
    parser.add_argument("--passes", type=int, default=12, help="partitions of `texts` of each key")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--at-once", type=int, default=32, help="commits at once; 0: none")
    of = parser.parse_args()
    page = Page("keys", "The cost of a command beside many keys", str(__doc__), ["pyiceberg", "pyarrow"])
    plain: dict[int, dict[str, Series]] = {}
    with_passes: dict[int, dict[str, Series]] = {}
    with tempfile.TemporaryDirectory() as place:
        sets = [f"warehouse={place}/lake", f"landing={place}/landing", *_OFF]
        settings = load(sets, environ={}).settings
        for start, keys in pairwise([0, *of.keys]):
            spent = timed(_growing(settings, start, keys))
            print(f"{keys} keys: {spent.cpu:.0f} CPU seconds and {spent.wall:.0f} in all to grow", flush=True)
            with _put_back(Path(place, "lake")):  # or what was measured would be later than the keys that come next
                plain[keys] = _measured(of, sets, 0)
            with _put_back(Path(place, "lake")):
                add_passes(Lake(settings), [key_of(number) for number in range(keys)], of.passes)
                grow(Lake(settings), settings, keys, keys + 1)  # merges the manifests of those transactions
                with_passes[keys] = _measured(of, sets, of.passes)
    for title, found, suffix in (("Without passes", plain, ""), (f"{of.passes} passes a key", with_passes, "_passes")):
        page.text(f"## {title}")
        page.table(
            ("keys", "command", "wall seconds", "CPU seconds", "machine"),
            [(keys, verb, *series.cells) for keys, verbs in found.items() for verb, series in verbs.items()],
        )
        few, many = found[of.keys[0]], found[of.keys[-1]]
        for verb in many:
            name = f"{verb.replace(' ', '_')}_{of.keys[-1]}{suffix}"
            page.ratio(name, ratio(few[verb], many[verb], lambda sample: sample.cpu))
        status = many["kale status"]
        five = Ratio([5 / one.wall for one in status.samples], status.busy)
        page.ratio(f"five_seconds_over_status_{of.keys[-1]}{suffix}", five)
    page.text("Ratios but the last of each table are CPU seconds beside the fewest keys over those beside the most.")
    page.write()


def _measured(of: argparse.Namespace, sets: Sequence[str], passes: int) -> dict[str, Series]:
    rounds = [measure(sets, 3000 + 10 * turn, passes=passes > 0) for turn in range(of.rounds)]
    found = {verb: Series([samples[verb] for samples in rounds]) for verb in rounds[0]}
    if of.at_once and not passes:
        found[f"{of.at_once} commits at once"] = Series([at_once(sets, 6000, of.at_once)])
    return found


@contextmanager
def _put_back(folder: Path) -> Iterator[None]:
    aside = folder.with_name("aside")
    shutil.copytree(folder, aside)
    yield
    shutil.rmtree(folder)
    aside.rename(folder)


def _growing(settings: Settings, start: int, stop: int) -> Callable[[], None]:
    return lambda: grow(Lake(settings), settings, start, stop)


if __name__ == "__main__":
    main()
