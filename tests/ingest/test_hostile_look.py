"""`kale landing check` on files that are made to harm: bounded memory, no control characters, nothing written."""

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.ingest.world import KEY, land_lines, pair

_MEMORY = 3 << 30  # bytes of address space: what the command needs beside the files, and half as much again
ESCAPE = "\x1b]0;taken\x07\x1b[2J"


def _bomb(folder: Path) -> None:
    with gzip.open(folder / "bomb.jsonl.gz", "wb", compresslevel=1) as out:
        for _ in range(200):
            out.write(b" " * (1 << 20))


def _names(folder: Path) -> None:
    for name in (f"{ESCAPE}.xlsx", f"{ESCAPE}.csv", "--help.jsonl", "%s%n{0}.jsonl"):
        (folder / name).write_text(f"url,text\nhttps://p.example/1.jpg,{ESCAPE} the old mill\n")


def _columns(folder: Path) -> None:
    names = [f"{ESCAPE}{number}" for number in range(3000)]
    pq.write_table(pa.table({name: ["x"] for name in ["url", "text", *names]}), folder / "wide.parquet")


def _deep(folder: Path) -> None:
    (folder / "deep.json").write_text('{"url": ' + "[" * 200_000)
    (folder / "deep.jsonl").write_text('{"text": ' * 50_000 + "\n" + json.dumps(pair(1)) + "\n")


def _tar(folder: Path) -> None:
    with tarfile.open(folder / "evil.tar", "w") as out:
        kinds = {"/etc/cron.d/a.json": tarfile.REGTYPE, "../../b.json": tarfile.SYMTYPE, "c.json": tarfile.CHRTYPE}
        for name, kind in kinds.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            out.addfile(member, io.BytesIO())
        huge = tarfile.TarInfo("d.json")
        huge.size = 1 << 40  # what the header claims
        out.addfile(huge, None)


def _loop(folder: Path) -> None:
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "nowhere.jsonl").symlink_to("/nowhere/at/all.jsonl")


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe.jsonl")


def test_hostile_files_neither_stop_nor_harm_the_look(tmp_path: Path) -> None:
    land_lines(tmp_path / "landing", [pair(n) for n in range(5)], name="good")
    for make in (_bomb, _names, _columns, _deep, _tar, _loop, _pipe):
        make(tmp_path / "landing" / KEY)
    sets = [f"landing={tmp_path / 'landing'}", f"warehouse={tmp_path / 'lake'}", "ingest.lists.evaluation=null"]
    command = [sys.executable, "-m", "kale_tasks", "landing", "check", KEY, *(f"--set={one}" for one in sets)]
    done = subprocess.run(
        ["prlimit", f"--as={_MEMORY}", *command], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "good.jsonl" in done.stdout and "The castle of" in done.stdout
    assert not [c for c in done.stdout + done.stderr if not c.isprintable() and c != "\n"]
    assert not (tmp_path / "lake").exists()
