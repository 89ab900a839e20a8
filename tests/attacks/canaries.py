"""Secrets that are planted, and the places in which they would be found if anything wrote them down."""

import os
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

CANARIES = {
    "KALE_S3__ACCESS_KEY_ID": "AKIACANARYCANARY0001",
    "KALE_S3__SECRET_ACCESS_KEY": "canary-s3-5e4f1c",
    "KALE_CAPTION__ENDPOINTS__API_KEY": "sk-canary-engine-77aa",
    "HF_TOKEN": "hf_canaryhubtoken9931",
    "AWS_SECRET_ACCESS_KEY": "canary-aws-0d11e2",
    "PGPASSWORD": "canary-postgres-41c0",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://airflow:canary-airflow-8b2d@db/airflow",
}
WORKERS = ("decode_worker", "kale_tasks.experts")  # processes that look at strangers' bytes


def canaries_in(text: bytes) -> list[str]:
    """The planted variables whose value is in some bytes."""
    return [name for name, value in CANARIES.items() if value.encode() in text]


@dataclass
class Watched:
    """What a command said, and the processes that it started: their command lines and environments."""

    code: int = -1
    said: bytes = b""
    lines: set[bytes] = field(default_factory=set)
    environments: dict[str, bytes] = field(default_factory=dict)  # of workers only, by their command line


def watched(words: Sequence[str], sets: Sequence[str], scratch: Path) -> Watched:
    """Run `kale` with the canaries in its environment, and look at its processes all the time."""
    command = [sys.executable, "-m", "kale_tasks", *words, *(word for one in sets for word in ("--set", one))]
    environment = os.environ | CANARIES | {"TMPDIR": str(scratch)}
    seen, over = Watched(), threading.Event()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment) as process:
        watcher = threading.Thread(target=_watch, args=(process.pid, seen, over))
        watcher.start()
        seen.said, _ = process.communicate()
        over.set()
        watcher.join()
    seen.code = process.returncode
    return seen


def _watch(first: int, seen: Watched, over: threading.Event) -> None:
    while not over.wait(0.02):
        for process in _family(first):
            try:
                line = Path(f"/proc/{process}/cmdline").read_bytes()
                seen.lines.add(line)
                if any(name.encode() in line for name in WORKERS):
                    seen.environments[line.decode()] = Path(f"/proc/{process}/environ").read_bytes()
            except OSError:  # it has ended
                continue


def _family(first: int) -> Iterator[int]:
    yield first
    with suppress(OSError):  # it has ended
        for thread in Path(f"/proc/{first}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from _family(int(child))


def readable(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file below a folder as bytes that can be searched: tables as their rows, compressed blocks unpacked."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path, path.read_bytes()
            if path.suffix == ".parquet":
                table = pq.read_table(path)
                yield path, repr(table.schema.metadata).encode() + repr(table.to_pylist()).encode()
            elif path.suffix == ".avro":
                yield path, _unpacked(path.read_bytes())


def _unpacked(avro: bytes) -> bytes:
    """The blocks of an Avro file, which follow its first and end with its sync mark, decompressed."""
    sync, found = avro[-16:], b""
    for block in avro.split(sync)[1:]:
        for start in range(min(12, len(block))):  # a count and a size of variable length come first
            try:
                found += zlib.decompressobj(-15).decompress(block[start:])
                break
            except zlib.error:
                continue
    return found
