"""What must be true of a lake: while operations run, after them, and beside a lake that nothing disturbed.

The functions run in forked processes. Each gets a JSON file with its arguments and prints one problem a line.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kale_tasks.errors import BadData, KaleError
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.shards import Span, read_images
from kale_tasks.lake.tables import Lake
from kale_tasks.settings import load
from tests.kale import kale
from tests.operations import source

# Columns that any way to the same landing files, settings and takedowns must give.
COLUMNS = {
    "pairs": ("uid", "key", "url", "alt_text", "text", "source", "split", "dup_count", "flags"),
    "dedup_index": ("uid", "key", "kind", "hash", "owner"),
    "quarantine": ("uid", "key", "step", "reason"),
    "images": ("uid", "key", "status", "reason", "sha256", "width", "height", "final_url", "split", "flags"),
}
_ROUNDS = 3
_PAUSE_SECONDS = 0.3


def watch(task_file: str) -> int:
    """Read the lake again and again until the file `over` exists."""
    task = _task(task_file)
    seen: dict[tuple[str, str, str], frozenset[str]] = {}
    reported: set[str] = set()
    while not Path(task["over"]).exists():
        taken = json.loads(Path(task["taken"]).read_text())
        try:
            for problem in _visible_problems(_lake(task), set(taken["finished"]), taken["begun"], seen):
                if problem not in reported:
                    print(problem, flush=True)
                reported.add(problem)
        except (KaleError, OSError) as error:
            if task["strict"] and (text := f"a reader failed: {' '.join(str(error).split())[:300]}") not in reported:
                print(text, flush=True)
                reported.add(text)
        time.sleep(_PAUSE_SECONDS)
    return 0


def _visible_problems(
    lake: Lake, taken: set[str], rewritten: bool, seen: dict[tuple[str, str, str], frozenset[str]]
) -> Iterator[str]:
    for table in ("pairs", "images"):
        for key in source.KEYS:
            found = lake.opened(Partition.of(table, key))
            if found is None:
                continue
            committed, files = found
            name = f"{table} {key} {committed.fingerprint}"
            runs = {file.path.split("/")[2].partition("-")[0] for file in files}
            if len(runs) > 1 and not rewritten:
                yield f"{name}: files of the runs {sorted(runs)}"
            if sum(file.rows for file in files) != committed.rows:
                yield f"{name}: {sum(file.rows for file in files)} rows in its files, {committed.rows} committed"
            if committed.rows_in != committed.rows + sum(committed.dropped.values()) + committed.quarantined:
                yield f"{name}: its account does not add up"
            uids = [uid for file in files for uid in _uids(lake, file.path)]
            if len(set(uids)) != len(uids):
                yield f"{name}: {len(uids) - len(set(uids))} rows twice"
            if visible := taken & set(uids):
                yield f"{name}: {len(visible)} rows of a finished takedown"
            before = seen.setdefault((table, key, committed.content), frozenset(uids))
            if before != set(uids):
                yield f"{name}: the same content with other rows"


def _uids(lake: Lake, path: str) -> list[str]:
    import pyarrow.parquet as pq

    with lake.storage.arrow.open_input_file(path) as file:
        uids: list[str] = pq.ParquetFile(file).read(["uid"])["uid"].to_pylist()
    return uids


def refresh(task_file: str) -> int:
    """Run every step that is missing or stale; with `again` every step of every key, once."""
    task = _task(task_file)
    for key in task["again"]:
        for step in ("ingest", "images"):
            _run(step, key, task["sets"], "--again")
    for _ in range(_ROUNDS):
        for key in _landed(task):
            for step in ("ingest", "images"):
                problem = _run(step, key, task["sets"])
        if not any(row["state"] != "committed" for row in _status(task)):
            return 0
    if problem:
        print(problem)
    print(*(f"{r['step']} {r['key']} is {r['state']} after a refresh" for r in _status(task)
            if r["state"] != "committed"), sep="\n")  # fmt: skip
    return 0


def _run(step: str, key: str, sets: list[str], *more: str) -> str:
    for _ in range(2):
        answer = kale("run", step, "--key", key, *more, sets=sets)
        if answer.code == BadData.exit_code and "failed its checks" in answer.err:  # after a takedown
            kale("check", step, "--key", key, "--accept", "a small key", sets=sets)
            continue
        return f"{step} {key} ended with {answer.code}: {answer.complaint[:400]}" if answer.code else ""
    return f"{step} {key} is blocked"


def _status(task: dict[str, Any]) -> list[dict[str, Any]]:
    rows = kale("status", "--json", sets=task["sets"])
    if rows.code:
        return [{"step": "status", "key": rows.complaint, "state": "failing"}]
    return [row for row in rows.json if row["step"] in ("ingest", "images")]


def verify(task_file: str) -> int:
    """Check a lake at rest against its landing files and against an undisturbed lake."""
    task = _task(task_file)
    lake = _lake(task)
    for problem in (*_account_problems(lake, task), *_picture_problems(lake), *_key_problems(lake, set(task["uids"]))):
        print(problem)
    rows, expected = _rows(lake), _rows(_lake({"sets": task["oracle"]}))
    for table in COLUMNS:
        less, more = expected[table] - rows[table], rows[table] - expected[table]
        if less or more:
            counts = f"{less.total()} rows less and {more.total()} more than in an undisturbed lake"
            print(f"{table}: {counts}, such as {next(iter(less or more))}")
    return 0


def _account_problems(lake: Lake, task: dict[str, Any]) -> Iterator[str]:
    landing = Path(task["landing"])
    for key in _landed(task):
        pairs, images = lake.committed("pairs", key), lake.committed("images", key)
        if pairs is None or images is None:
            yield f"{key} is not committed"
            continue
        landed = source.lines(landing, key)
        if not pairs.rows_in == landed == pairs.rows + sum(pairs.dropped.values()) + pairs.quarantined:
            yield (
                f"pairs {key}: {landed} landed, {pairs.rows_in} in, {pairs.rows} kept, {dict(pairs.dropped)} dropped, "
                f"{pairs.quarantined} quarantined"
            )
        counts = {name: lake.arrow(name, key, ["uid"]).num_rows for name in ("pairs", "images")}
        if counts["pairs"] != pairs.rows or counts["images"] != images.rows:
            yield f"{key}: {counts} rows, {pairs.rows} pairs and {images.rows} images committed"


def _picture_problems(lake: Lake) -> Iterator[str]:
    numbers = source.numbers_by_uid()
    rows = lake.arrow("images", columns=["uid", "shard", "offset", "length"], where="status = 'ok'").to_pylist()
    try:
        images = read_images(lake, [Span(row["shard"], row["offset"], row["length"]) for row in rows])
    except (KaleError, OSError) as error:
        yield f"images cannot be read: {error}"
        return
    for row, image in zip(rows, images, strict=True):
        try:
            right = source.seen_pattern(image) == source.pattern(numbers[row["uid"]])
        except (OSError, SyntaxError):
            right = False
        if not right:
            yield f"images: the bytes of {row['uid']} in {row['shard']} are not those of its image"


def _key_problems(lake: Lake, taken: set[str]) -> Iterator[str]:
    for table in ("pairs", "images"):
        counts = Counter(lake.arrow(table, columns=["uid"])["uid"].to_pylist())
        if twice := [uid for uid, n in counts.items() if n > 1]:
            yield f"{table}: {len(twice)} uids more than once, such as {twice[0]}"
        if visible := taken & counts.keys():
            yield f"{table}: {len(visible)} rows that were taken down"
    for key in source.KEYS:
        pairs = set(lake.arrow("pairs", key, ["uid"])["uid"].to_pylist())
        index = set(lake.arrow("dedup_index", key, ["uid"], "kind = 'uid' and owner is null")["uid"].to_pylist())
        if pairs != index:
            yield f"dedup_index {key}: {len(index - pairs)} uids of other rows, {len(pairs - index)} missing"
        committed = lake.committed("pairs", key)
        quarantined = lake.arrow("quarantine", key, ["uid"], "step = 'ingest'").num_rows
        if committed and quarantined != committed.quarantined:
            yield f"quarantine {key}: {quarantined} rows, {committed.quarantined} in the account"


def _rows(lake: Lake) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for table, columns in COLUMNS.items():
        rows = lake.arrow(table, columns=columns).to_pylist()
        found[table] = Counter(json.dumps(row, sort_keys=True, default=str) for row in rows)
    return found


def _landed(task: dict[str, Any]) -> list[str]:
    return sorted(folder.name for folder in Path(task["landing"]).iterdir() if not folder.name.startswith("."))


def _lake(task: dict[str, Any]) -> Lake:
    return Lake(load(task["sets"], environ={}).settings, create=False)


def _task(path: str) -> dict[str, Any]:
    return dict(json.loads(Path(path).read_text()))
