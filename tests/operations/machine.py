"""Plays a sequence of operations on a small lake by real processes, and returns what is wrong afterwards."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tests.operations import disasters, source
from tests.operations.forks import ForkServer, Process
from tests.operations.sequences import CAPTION_STEPS, Group, Operation, Sequence_

CHECKS = "tests.operations.checks"
_SETTINGS = {
    "parts.part_rows": "8", "parts.chunk_rows": "16", "ingest.part_rows": "10", "ingest.piece_rows": "100",
    "ingest.rules.min_words": "3", "ingest.workers": "1", "ingest.dedup.near": "false", "ingest.rules.pii": "keep",
    "ingest.rules.languages": "[]", "ingest.rules.placeholder_text": "false", "ingest.rules.spam": "false",
    "ingest.lists.evaluation": "null", "images.evaluation": "null", "images.decode.workers": "1",
    "images.near_bits": "0", "ingest.split.stage1": "1", "ingest.split.holdout": "0",
    "caption.recipe": "demo", "caption.engine": "openai", "caption.in_flight": "4", "caption.device": "cpu",
    "publish.shard_rows": "100", "quality.samples": "1",
    "images.fetch.allow": '["127.0.0.0/8"]', "images.fetch.contact": "test@example.org",
    "images.fetch.host_rate": "1000", "images.fetch.tries": "1", "quality.members": "5",
    # The model that fuses only repeats the description: no caption would be committed.
    "quality.limits.alt_used_min": "0",
}  # fmt: skip
_ORPHAN_SECONDS = 5.0
_UNEXPECTED = "(unexpected;"


@dataclass
class Takedown:
    """A takedown that was asked for; without a process, a restore may have undone it."""

    kind: str
    value: str
    process: Process | None = None

    @property
    def finished(self) -> bool:
        """Whether its rows must not be seen any more."""
        return self.process is not None and self.process.code == 0


class Machine:
    """One lake, its landing folder, and what has been asked of it so far."""

    def __init__(self, server: ForkServer, folder: Path, port: int, place: Mapping[str, str] | None = None) -> None:
        """Create the lake. `place`: settings of a warehouse that is not a folder, such as a bucket."""
        self._server, self._folder, self._port = server, folder, port
        self._landing, self._warehouse = folder / "landing", folder / "warehouse"
        url = f"[http://127.0.0.1:{port}/v1]"
        self._settings = {**_SETTINGS, **{f"caption.endpoints.models.{name}": url for name in ("vlm", "llm")}}
        self._place = place or {}
        self._numbers = count()
        self._processes: list[Process] = []
        self._takedowns: list[Takedown] = []
        self._landed: dict[str, list[list[int]]] = {key: [] for key in source.KEYS}
        self._held: set[tuple[str, str]] = set()
        self._damaged = self._restored = self._captions = False
        self.problems: list[str] = []
        self._landing.mkdir(parents=True)
        self._note()
        self._must("the lake is created", ["init"])

    def play(self, sequence: Sequence_) -> list[str]:
        """Play all groups, refresh the lake, and return the problems."""
        names = {operation.name for group in sequence for operation in group}
        self._captions = "release" in names or any(o.step in CAPTION_STEPS for g in sequence for o in g)
        reader = self._watch(strict=not names & {"damage", "restore"})
        for group in sequence:
            self._play_group(group)
        (self._folder / "over").touch()
        self._server.wait(reader)
        self.problems += reader.text.splitlines()
        self._find_orphans()
        self._settle()
        self._compare()
        self.problems += [f"{p.out.name}: {line}" for p in self._processes for line in _unexpected(p)]
        self.problems += [f"{p.out.name} did not end: {p.text[-6000:]}" for p in self._processes if p.has_hung]
        return self.problems

    def _settle(self) -> None:
        """Do what operators do once nothing runs: repair, repeat what was cut short, run what is stale, and verify."""
        for key, step in sorted(self._held):
            self._must("a hold is released", ["rollback", step, "--key", key, "--release-hold"])
        if self._damaged or self._restored:
            self._server.run(["repair", *self._sets()], self._out())
        for takedown in self._takedowns:
            if not takedown.finished:
                self._must("a takedown is repeated", ["takedown", "--list", self._listed(takedown)])
        self._call("refresh", captions=self._captions)
        self._must("all files are verified", ["verify"])
        if self._captions:
            self._must("everything is released", ["run", "release", "--key", "all"])
            self._call("released", subset=False)

    def _must(self, what: str, command: Sequence[str]) -> None:
        done = self._server.run([*command, *self._sets()], self._out())
        if done.code != 0:
            self.problems.append(f"{what}: ended with {done.code}: {done.text[-400:]}")

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
        self._note()
        if group[0].name == "release" and len(group) == 1 and started[0].code == 0:
            self._call("released", subset=True)

    def _run(self, operation: Operation) -> Process:
        command = ["run", operation.step, "--key", operation.key, *(["--again"] if operation.again else [])]
        return self._start(operation, command)

    def _set(self, operation: Operation) -> None:
        self._settings[operation.setting] = operation.value

    def _land(self, operation: Operation) -> None:
        self._landed[operation.key].append(source.lines_of(operation.numbers))
        self._note()
        source.land(self._landing, operation.key, operation.numbers, self._port)

    def _takedown(self, operation: Operation) -> Process:
        number = operation.numbers[0]
        value = source.uid(number) if operation.value == "uid" else source.url(number, self._port)
        self._takedowns.append(takedown := Takedown(operation.value, value))
        self._note()
        takedown.process = self._start(operation, ["takedown", "--list", self._listed(takedown)])
        return takedown.process

    def _listed(self, *takedowns: Takedown) -> str:
        """Write what to take down to a file, and return its path."""
        lines = sorted({f"{one.kind} {one.value}\n" for one in takedowns})
        path = self._folder / f"takedown-{next(self._numbers)}.txt"
        path.write_text("".join(lines))
        return str(path)

    def _maintain(self, operation: Operation) -> Process:
        return self._start(operation, ["maintain"])

    def _look(self, operation: Operation) -> Process:
        return self._start(operation, ["run", operation.step, "--key", operation.key, "--limit", "4"])

    def _repair(self, operation: Operation) -> Process:
        return self._start(operation, ["repair"])

    def _release(self, operation: Operation) -> Process:
        return self._start(operation, ["run", "release", "--key", "all"])

    def _rollback(self, operation: Operation) -> Process | None:
        command = ["rollback", operation.step, "--key", operation.key]
        runs = disasters.runs_of(self._server.run([*command, "--json", *self._sets()], self._out()).text)
        if not runs:
            return None
        self._held.add((operation.key, operation.step))
        return self._start(operation, [*command, "--to", runs[operation.pick % len(runs)], "--because", "a test"])

    def _copy(self, operation: Operation) -> None:
        """Copy the lake as it is at this moment, and run a step in the copy: nothing may reach the original."""
        copy = self._folder / f"copy{next(self._numbers)}"
        shutil.copytree(self._warehouse, copy, ignore_dangling_symlinks=True, copy_function=disasters.copy_if_there)
        sets = self._sets(warehouse=copy)
        refused = self._server.run(["run", "ingest", "--key", operation.key, *sets], self._out())
        if refused.code != 2:
            self.problems.append(f"a copied lake was not refused: {refused.code} {refused.text[-300:]}")
        self._processes += [self._server.run(["relocate", *sets], self._out())]
        self._server.run(["run", "ingest", "--key", operation.key, "--again", *sets], self._out())
        shutil.rmtree(copy)

    def _damage(self, operation: Operation) -> None:
        self._damaged |= disasters.damage(self._warehouse, operation.value, operation.pick)

    def _backup(self, _: Operation) -> None:
        disasters.back_up(self._warehouse, self._folder / "backup")

    def _restore(self, operation: Operation) -> None:
        """Put the catalog or the store of the last backup back. Takedowns since then must be repeated."""
        backup = self._folder / "backup"
        if not backup.exists():
            return
        self._restored = True
        for takedown in self._takedowns:
            takedown.process = None
        self._note()
        if operation.value == "store":
            disasters.restore_store(self._warehouse, backup)
            seen = self._server.run(["status", *self._sets()], self._out())
            self._processes.append(seen)
            if not seen.code:
                return  # nothing was committed since the backup
        disasters.restore_catalog(self._warehouse, backup)

    def _start(self, operation: Operation, command: Sequence[str]) -> Process:
        process = self._server.start([*command, *self._sets()], self._out(), operation.moment, operation.days)
        self._processes.append(process)
        return process

    def _watch(self, strict: bool) -> Process:
        task = self._task("watch", known=str(self._folder / "known"), over=str(self._folder / "over"), strict=strict)
        return self._server.start([f"{CHECKS}:watch", str(task)], self._out())

    def _note(self) -> None:
        """Tell the reader what is taken down, and how many rows each landing file of a key has had."""
        gone = self._uids([one for one in self._takedowns if one.finished])
        self._write("known", {"finished": gone, "begun": bool(self._takedowns), "landed": self._landed})

    def _uids(self, takedowns: Sequence["Takedown"]) -> list[str]:
        named = {(one.kind, one.value) for one in takedowns}
        return [
            source.uid(n) for n in range(source.NUMBERS)
            if ("uid", source.uid(n)) in named or ("url", source.url(n, self._port)) in named
        ]  # fmt: skip

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
        if self._takedowns:
            self._server.run(["takedown", "--list", self._listed(*self._takedowns), *oracle], self._out())
        self._call("refresh", sets=oracle[1::2], captions=self._captions)
        self._call("verify", oracle=oracle[1::2], uids=self._uids(self._takedowns), captions=self._captions)

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
        of_lake = {"landing": self._landing, "images.spool": self._folder / "spool"}
        of_lake |= self._place if self._place and not warehouse else {"warehouse": warehouse or self._warehouse}
        return [word for name, value in {**self._settings, **of_lake}.items() for word in ("--set", f"{name}={value}")]

    def _out(self) -> Path:
        return self._folder / f"out{next(self._numbers)}"


def _unexpected(process: Process) -> list[str]:
    return [line[:300] for line in process.text.splitlines() if _UNEXPECTED in line or "Traceback" in line]
