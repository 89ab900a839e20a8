"""What must be true of a lake: while operations run, after them, and beside a lake that nothing disturbed.

The functions run in forked processes. Each gets a JSON file with its arguments and prints one problem a line.
"""

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from kale_tasks.captions.steps import find_spec, pass_specs
from kale_tasks.contract.registry import ASSEMBLY
from kale_tasks.errors import BadData, KaleError, Transient
from kale_tasks.lake.keys import ALL_KEYS
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.shards import Span, read_images
from kale_tasks.lake.tables import Lake
from kale_tasks.release.shards import release_name
from kale_tasks.settings import load
from kale_tasks.status import state
from tests.kale import kale
from tests.operations import source
from tests.operations.sequences import CAPTION_STEPS

# Columns that any way to the same landing files, settings and takedowns must give.
COLUMNS = {
    "pairs": ("uid", "key", "url", "alt_text", "text", "source", "split", "dup_count", "flags"),
    "dedup_index": ("uid", "key", "kind", "hash", "owner"),
    "quarantine": ("uid", "key", "step", "reason"),
    "images": ("uid", "key", "status", "reason", "width", "height", "final_url", "split", "flags"),
    "texts": ("uid", "key", "pass", "item", "n", "text"),
    "captions": ("uid", "key", "recipe", "stage", "alt_text", "dense_caption", "caption", "flags"),
}
_STEPS = ("ingest", "images")
_ROUNDS = 3
_PAUSE_SECONDS = 0.3


def watch(task_file: str) -> int:
    """Read the lake whenever it has changed, until the file `over` exists."""
    task = _task(task_file)
    lake: Lake | None = None
    seen: dict[tuple[str, str, str], frozenset[str]] = {}
    reported: set[str] = set()
    looked: dict[str, Any] = {}
    while not Path(task["over"]).exists():
        known = json.loads(Path(task["known"]).read_text())
        try:
            lake = lake or _lake(task)
            for table in ("pairs", "images"):
                state = (lake.table(table).metadata_location, known)
                if looked.get(table) != state:
                    problems = list(_visible_problems(lake, table, known, seen))
                    _report(problems, reported)
                    looked[table] = state
        except Transient:  # SQLite lets nobody read while a stopped process keeps another from ending its commit
            lake = None
        except (KaleError, OSError) as error:
            _report([f"a reader failed: {' '.join(str(error).split())[:300]}"] if task["strict"] else [], reported)
            lake = None
        time.sleep(_PAUSE_SECONDS)
    return 0


def _report(problems: Iterable[str], reported: set[str]) -> None:
    for problem in problems:
        if problem not in reported:
            print(problem, flush=True)
        reported.add(problem)


def _visible_problems(
    lake: Lake, table: str, known: dict[str, Any], seen: dict[tuple[str, str, str], frozenset[str]]
) -> Iterator[str]:
    for key in source.KEYS:
        found = lake.opened(Partition.of(table, key))
        if found is None:
            continue
        committed, files = found
        name = f"{table} {key} {committed.fingerprint}"
        runs = {file.path.split("/")[2].partition("-")[0] for file in files}
        if len(runs) > 1 and not known["begun"]:
            yield f"{name}: files of the runs {sorted(runs)}"
        if sum(file.rows for file in files) != committed.rows:
            yield f"{name}: {sum(file.rows for file in files)} rows in its files, {committed.rows} committed"
        if committed.rows_in != committed.rows + sum(committed.dropped.values()) + committed.quarantined:
            yield f"{name}: its account does not add up"
        if table == "pairs" and committed.rows_in not in _landed_rows(known["landed"][key]):
            yield f"{name}: {committed.rows_in} rows in, which never landed together"
        uids = [uid for file in files for uid in _uids(lake, file.path)]
        if len(set(uids)) != len(uids):
            yield f"{name}: {len(uids) - len(set(uids))} rows twice"
        if visible := set(known["finished"]) & set(uids):
            yield f"{name}: {len(visible)} rows of a finished takedown"
        before = seen.setdefault((table, key, committed.content), frozenset(uids))
        if before != set(uids):
            yield f"{name}: the same content with other rows"


def _landed_rows(landed: Iterable[Sequence[int]]) -> set[int]:
    # A run may find some files of one landing and some of the next.
    return {sum(files) for files in product(*zip(*landed, strict=True))}


def _uids(lake: Lake, path: str) -> list[str]:
    import pyarrow.parquet as pq

    with lake.storage.arrow.open_input_file(path) as file:
        uids: list[str] = pq.ParquetFile(file).read(["uid"])["uid"].to_pylist()
    return uids


def refresh(task_file: str) -> int:
    """Run every step that is missing or stale, until none is."""
    task = _task(task_file)
    lake, problems = _lake(task), list[str]()
    for _ in range(_ROUNDS):
        todo = product(_landed(task), _steps(task))
        stale = [(step, key) for key, step in todo if _refreshed(lake, task, step, key, problems)]
        if not stale:
            return 0
    print(*problems[-1:], *(f"{step} {key} is not current after a refresh" for step, key in stale), sep="\n")
    return 0


def _refreshed(lake: Lake, task: dict[str, Any], step: str, key: str, problems: list[str]) -> bool:
    """Run a step unless its rows are current; whether it had to run."""
    settings = lake.settings
    specs = [*(pass_specs(settings.caption.recipe) if step == ASSEMBLY else ()), find_spec(step, settings)]
    if all(state(lake, settings, spec.load(), key)["state"] == "committed" for spec in specs):
        return False
    if problem := _run(step, key, task["sets"]):
        problems.append(problem)
    return True


def released(task_file: str) -> int:
    """Compare the files of the latest release with the captions that are committed, or with a subset of the pairs."""
    task = _task(task_file)
    lake = _lake(task)
    committed = lake.committed("releases", ALL_KEYS)
    version = release_name(ALL_KEYS, committed.fingerprint) if committed else ""
    files = lake.arrow("releases", ALL_KEYS, ["path"], f"version = '{version}'")["path"].to_pylist()
    found = Counter(uid for path in files if path.endswith(".parquet") for uid in _uids(lake, path))
    expected = Counter(lake.arrow("pairs" if task["subset"] else "captions", columns=["uid"])["uid"].to_pylist())
    if more := found - expected:
        print(f"the release {version} has {more.total()} captions twice or without a pair")
    if not task["subset"] and (less := expected - found):
        print(f"the release {version} lacks {less.total()} captions")
    return 0


def _steps(task: dict[str, Any]) -> tuple[str, ...]:
    return (*_STEPS, *(CAPTION_STEPS if task.get("captions") else ()))


def _run(step: str, key: str, sets: list[str], *more: str) -> str:
    for _ in range(2):
        answer = kale("run", step, "--key", key, *more, sets=sets)
        if answer.code == BadData.exit_code and "failed its checks" in answer.err:  # after a takedown
            kale("check", step, "--key", key, "--accept", "a small key", sets=sets)
            continue
        return f"{step} {key} ended with {answer.code}: {answer.complaint[:400]}" if answer.code else ""
    return f"{step} {key} is blocked"


def verify(task_file: str) -> int:
    """Check a lake at rest against its landing files and against an undisturbed lake."""
    task = _task(task_file)
    lake = _lake(task)
    for problem in (*_account_problems(lake, task), *_picture_problems(lake), *_key_problems(lake, set(task["uids"]))):
        print(problem)
    tables = [table for table in COLUMNS if task["captions"] or table not in ("texts", "captions")]
    taken = set(task["uids"])
    rows, expected = (_rows(of, tables, taken) for of in (lake, _lake({"sets": task["oracle"]})))
    for table in tables:
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


def _rows(lake: Lake, tables: Iterable[str], taken: set[str]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for table in tables:
        rows = lake.arrow(table, columns=COLUMNS[table]).to_pylist()
        # A key keeps the entries that it lost to another key, also when the row there is taken down by its address.
        rows = [row for row in rows if not (row.get("owner") and row["uid"] in taken)]
        found[table] = Counter(json.dumps(row, sort_keys=True, default=str) for row in rows)
    return found


def _landed(task: dict[str, Any]) -> list[str]:
    return sorted(folder.name for folder in Path(task["landing"]).iterdir() if not folder.name.startswith("."))


def _lake(task: dict[str, Any]) -> Lake:
    return Lake(load(task["sets"], environ={}).settings, create=False)


def _task(path: str) -> dict[str, Any]:
    return dict(json.loads(Path(path).read_text()))
