"""Plays a sequence of operations on a small lake by real processes, and returns what is wrong afterwards."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

from tests.operations import source
from tests.operations.forks import ForkServer, Process
from tests.operations.sequences import Group, Operation, Sequence_

CHECKS = "tests.operations.checks"
_SETTINGS = {
    "parts.part_rows": "8", "parts.chunk_rows": "16", "ingest.part_rows": "10", "ingest.piece_rows": "100",
    "ingest.rules.min_words": "3", "ingest.workers": "1", "ingest.dedup.near": "false", "ingest.rules.pii": "keep",
    "ingest.rules.languages": "[]", "ingest.rules.placeholder_text": "false", "ingest.rules.spam": "false",
    "ingest.lists.evaluation": "null", "images.evaluation": "null", "images.decode.workers": "1",
    "images.near_bits": "0", "images.fetch.allow": '["127.0.0.0/8"]', "images.fetch.contact": "test@example.org",
    "images.fetch.host_rate": "1000", "images.fetch.tries": "1", "quality.members": "5",
}  # fmt: skip
_ORPHAN_SECONDS = 5.0
_UNEXPECTED = "(unexpected;"


class Machine:
    """One lake, its landing folder, and what has been asked of it so far."""

    def __init__(self, server: ForkServer, folder: Path, port: int) -> None:
        self._server, self._folder, self._port = server, folder, port
        self._landing, self._warehouse = folder / "landing", folder / "warehouse"
        self._settings = dict(_SETTINGS)
        self._numbers = count()
        self._processes: list[Process] = []
        self._takedowns: list[tuple[str, str, Process]] = []
        self._damaged = False
        self.problems: list[str] = []
        self._landing.mkdir(parents=True)
        self._note_takedowns()
        self._server.run(["init", *self._sets()], self._out())

    def play(self, sequence: Sequence_) -> list[str]:
        """Play all groups, refresh the lake, and return the problems."""
        reader = self._watch(strict=not any(o.name in ("damage", "restore") for g in sequence for o in g))
        for group in sequence:
            self._play_group(group)
        (self._folder / "over").touch()
        self._server.wait(reader)
        self.problems += reader.text.splitlines()
        self._find_orphans()
        self._finish_takedowns()
        self._call("refresh", again=[*source.KEYS] if self._damaged else [])
        self._compare()
        self.problems += [f"{p.out.name}: {line}" for p in self._processes for line in _unexpected(p)]
        return self.problems

    def _play_group(self, group: Group) -> None:
        """Start all operations of a group. What stops goes on when the others have ended."""
        started: list[Process] = []
        for operation in group:
            act: Callable[[Operation], Process | None] = getattr(self, f"_{operation.name}")
            process = act(operation)
            if process:
                started.append(process)
                if operation.moment:
                    self._server.wait(process)
        while any(p.code is None for p in started):
            self._server.wait(*started)
            for process in started:
                if process.stopped:
                    self._server.proceed(process)
        self._note_takedowns()

    def _run(self, operation: Operation) -> Process:
        command = ["run", operation.step, "--key", operation.key, *(["--again"] if operation.again else [])]
        return self._start(operation, command)

    def _set(self, operation: Operation) -> None:
        self._settings[operation.setting] = operation.value

    def _land(self, operation: Operation) -> None:
        source.land(self._landing, operation.key, operation.numbers, self._port)

    def _takedown(self, operation: Operation) -> Process:
        self._write("taken", {"finished": self._uids(self._finished), "begun": True})
        number = operation.numbers[0]
        value = source.uid(number) if operation.value == "uid" else source.url(number, self._port)
        process = self._start(operation, ["takedown", f"--{operation.value}", value])
        self._takedowns.append((operation.value, value, process))
        return process

    def _maintain(self, operation: Operation) -> Process:
        return self._start(operation, ["maintain"])

    def _copy(self, operation: Operation) -> None:
        """Copy the lake as it is at this moment, and run a step in the copy: nothing may reach the original."""
        copy = self._folder / f"copy{next(self._numbers)}"
        shutil.copytree(self._warehouse, copy, ignore_dangling_symlinks=True, copy_function=_copy_if_there)
        sets = self._sets(warehouse=copy)
        refused = self._server.run(["run", "ingest", "--key", operation.key, *sets], self._out())
        if refused.code != 2:
            self.problems.append(f"a copied lake was not refused: {refused.code} {refused.text[-300:]}")
        self._processes += [self._server.run(["relocate", *sets], self._out())]
        self._server.run(["run", "ingest", "--key", operation.key, "--again", *sets], self._out())
        shutil.rmtree(copy)

    def _damage(self, operation: Operation) -> None:
        tables = ("pairs", "images", "dedup_index")
        files = [path for table in tables for path in sorted(self._warehouse.glob(f"{table}/key=*/*/part-*"))]
        if not files:
            return
        file = files[operation.pick % len(files)]
        self._damaged = True
        if operation.value == "delete":
            file.unlink()
        else:
            data = bytearray(file.read_bytes())
            data[len(data) // 2] ^= 0xFF
            file.write_bytes(data)

    def _start(self, operation: Operation, command: Sequence[str]) -> Process:
        process = self._server.start([*command, *self._sets()], self._out(), operation.moment, operation.days)
        self._processes.append(process)
        return process

    def _watch(self, strict: bool) -> Process:
        task = self._task("watch", taken=str(self._folder / "taken"), over=str(self._folder / "over"), strict=strict)
        return self._server.start([f"{CHECKS}:watch", str(task)], self._out())

    def _note_takedowns(self) -> None:
        self._write("taken", {"finished": self._uids(self._finished), "begun": bool(self._takedowns)})

    @property
    def _finished(self) -> list[tuple[str, str]]:
        return [(kind, value) for kind, value, process in self._takedowns if process.code == 0]

    def _uids(self, takedowns: Sequence[tuple[str, str]]) -> list[str]:
        return [
            source.uid(n) for n in range(source.NUMBERS)
            if ("uid", source.uid(n)) in takedowns or ("url", source.url(n, self._port)) in takedowns
        ]  # fmt: skip

    def _finish_takedowns(self) -> None:
        """Ask again for takedowns that have not ended, as their operators would."""
        for kind, value, process in self._takedowns:
            if process.code != 0:
                done = self._server.run(["takedown", f"--{kind}", value, *self._sets()], self._out())
                if done.code != 0:
                    self.problems.append(f"a repeated takedown ended with {done.code}: {done.text[-300:]}")

    def _find_orphans(self) -> None:
        deadline = time.monotonic() + _ORPHAN_SECONDS
        while (left := [p for p in self._processes if p.has_orphans]) and time.monotonic() < deadline:
            time.sleep(0.05)
        for process in left:
            self.problems.append(f"{process.out.name} left processes behind")
            process.send(signal.SIGKILL)

    def _compare(self) -> None:
        """Build a lake from the same landing files, settings and takedowns that nothing disturbs, and compare."""
        oracle = self._sets(warehouse=self._folder / "oracle")
        self._server.run(["init", *oracle], self._out())
        if takedowns := sorted({(kind, value) for kind, value, _ in self._takedowns}):
            listed = self._folder / "takedowns.txt"
            listed.write_text("".join(f"{kind} {value}\n" for kind, value in takedowns))
            self._server.run(["takedown", "--list", str(listed), *oracle], self._out())
        self._call("refresh", sets=oracle[1::2], again=[])
        self._call("verify", oracle=oracle[1::2], uids=self._uids(takedowns))

    def _call(self, name: str, **more: object) -> None:
        process = self._server.run([f"{CHECKS}:{name}", str(self._task(name, **more))], self._out())
        self.problems += [line for line in process.text.splitlines() if line.strip()]
        if process.code:
            self.problems.append(f"{name} ended with {process.code}")

    def _task(self, name: str, **more: object) -> Path:
        task = {"sets": self._sets()[1::2], "landing": str(self._landing), **more}
        return self._write(f"{next(self._numbers)}-{name}.json", task)

    def _write(self, name: str, value: object) -> Path:
        path = self._folder / name
        temporary = path.with_suffix(".writing")
        temporary.write_text(json.dumps(value))
        os.replace(temporary, path)
        return path

    def _sets(self, warehouse: Path | None = None) -> list[str]:
        of_lake = {
            "landing": self._landing,
            "warehouse": warehouse or self._warehouse,
            "images.spool": self._folder / "spool",
        }
        return [word for name, value in {**self._settings, **of_lake}.items() for word in ("--set", f"{name}={value}")]

    def _out(self) -> Path:
        return self._folder / f"out{next(self._numbers)}"


def _copy_if_there(source_: str, target: str) -> None:
    with suppress(FileNotFoundError):  # a temporary file that was renamed meanwhile
        shutil.copy2(source_, target)


def _unexpected(process: Process) -> list[str]:
    return [line[:300] for line in process.text.splitlines() if _UNEXPECTED in line or "Traceback" in line]
