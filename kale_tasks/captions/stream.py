"""Sends the rows of many parts through one engine and keeps it busy across the borders of parts.

Requests of the next part are submitted while answers of the current one are outstanding. A part is returned as soon as
its last row is decided, so a crash loses at most the parts that are in the engine, usually one or two.
"""

import json
import time
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import ClassVar

import pyarrow as pa

from kale_tasks.captions.carry import FormerTexts
from kale_tasks.captions.chunk import CaptionChunk
from kale_tasks.captions.rows import CaptionResult, NextTurn, NoCaption, PendingPart, PendingRow, Row
from kale_tasks.contract.types import Part, Quarantined
from kale_tasks.engines.base import Answer, Engine, Model, Request, open_engine, seed_of
from kale_tasks.engines.budget import Budget
from kale_tasks.engines.thought import without_thought
from kale_tasks.lake.schemas import TABLES
from kale_tasks.settings.caption import Caption

_SEEDS = 1_000_003  # between the seeds of two candidates, far more than retries and turns use
_SAMPLES = 3  # texts before and after cleaning that are kept, of each rule and part


class RowHandler(ABC):
    """What the stream asks of a captioning step."""

    name: ClassVar[str]
    version: ClassVar[int]
    table: ClassVar[str]
    carries: ClassVar[bool] = True
    _engine: Engine | None = None

    def engine(self, settings: Caption, model: Model) -> Engine:
        """The engine of all chunks that this process works on: a model is loaded once."""
        self._engine = self._engine or open_engine(settings, model)
        return self._engine

    def close(self) -> None:
        """Stop the engine."""
        if self._engine:
            self._engine.stop()
            self._engine = None

    @abstractmethod
    def read_part(self, work: CaptionChunk, number: int) -> PendingPart:
        """Read the rows of a part and prepare their requests. Runs in another thread, ahead of the engine."""

    def carried(self, row: PendingRow, made: Row) -> Row:
        """Return a row that is carried over, judged again by the rules of today."""
        return made

    @abstractmethod
    def make_row(self, work: CaptionChunk, row: PendingRow, answer: Answer) -> CaptionResult:
        """Make an output row from an answer, or state the reason why there is none."""


class CaptionStream:
    """Captions the parts of one chunk with one engine."""

    def __init__(self, work: CaptionChunk, engine: Engine, step: RowHandler) -> None:
        self._work, self._engine, self._step = work, engine, step
        self._run, self._settings, self._task = work.run, work.run.settings.caption, work.task
        self._former = FormerTexts(work, step.name, step.version)
        self._ready: deque[tuple[PendingPart, PendingRow]] = deque()
        self._asked: dict[int, tuple[PendingPart, PendingRow]] = {}
        self._count = 0
        self._before = replace(engine.times)
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._budget = Budget(self._run.lake.storage, self._settings, self._run.fingerprint)

    def parts(self, numbers: Sequence[int]) -> Iterator[Part]:
        """Caption the given parts and yield each when it is finished. Raises Paused if a budget is spent before."""
        self._engine.keep_in(self._run.lake.storage, f"{self._run.folder}/engine/{self._work.name}")
        with ThreadPoolExecutor(1) as ahead:
            unread = deque(numbers)
            reading = self._read_next(ahead, unread)
            finished = False
            try:
                while reading or self._ready or self._asked:
                    if not self._ready and not self._asked:
                        self._budget.require_more()
                    while reading and self._has_room() and not self._ready and self._budget.allows_more:
                        with self._timed("prepare_seconds"):
                            part = reading.result()
                        reading = self._read_next(ahead, unread)
                        yield from self._open(part)
                    self._submit()
                    takes_more = self._engine.takes_all and reading and self._budget.allows_more
                    if self._asked and not takes_more:
                        yield from self._collect()
                finished = True
            finally:
                if not finished or self._engine.takes_all:
                    self._step.close()  # the engine may still have requests, or knows only this chunk
                self._measure()
                self._budget.close()

    def _read_next(self, ahead: ThreadPoolExecutor, unread: deque[int]) -> Future[PendingPart] | None:
        return ahead.submit(self._read, unread.popleft()) if unread else None

    def _read(self, number: int) -> PendingPart:
        part = self._step.read_part(self._work, number)
        self._former.carry_over(part)
        for row in part.rows:
            if row.made_from and isinstance(row.outcome, dict):
                row.outcome = self._step.carried(row, row.outcome)
        return part

    def _open(self, part: PendingPart) -> Iterator[Part]:
        undecided = [row for row in part.rows if row.outcome is None]
        part.undecided = len(undecided)
        self._ready.extend((part, row) for row in undecided)
        if not undecided:
            yield self._finish(part)

    def _has_room(self) -> bool:
        return (self._engine.pending if self._engine.started else 0) < self._engine.room and not self._must_restart()

    def _must_restart(self) -> bool:
        return 0 < self._settings.recycle <= self._engine.since_start

    def _stop(self) -> None:
        self._engine.stop()
        self._engine.started, self._engine.since_start = False, 0

    def _submit(self) -> None:
        if self._must_restart() and not self._asked:
            self._stop()
        while self._ready and self._has_room():
            if not self._engine.started:
                with self._charged():
                    self._engine.start()
                self._engine.started = True
            part, row = self._ready.popleft()
            self._asked[self._count] = (part, row)
            with self._timed("generate_seconds"), self._charged():
                self._engine.submit(self._request(row))
            self._count += 1
            self._engine.since_start += 1

    def _request(self, row: PendingRow) -> Request:
        sampling, tries = self._task.sampling, row.retries + row.turn
        return Request(
            id=self._count,
            messages=row.messages,
            image=row.image,
            temperature=sampling.retry_temperature if row.retries else sampling.temperature,
            seed=seed_of(row.uid, self._task, tries + _SEEDS * row.candidate),
        )

    def _collect(self) -> Iterator[Part]:
        with self._timed("generate_seconds"), self._charged():
            answers = [without_thought(answer, self._task) for answer in self._engine.finished()]
        for answer in answers:
            part, row = self._asked.pop(answer.id)
            self._take(part, row, answer)
            if not part.undecided:
                yield self._finish(part)
        self._run.progress.advance(0, answers=len(answers), tokens_out=sum(answer.tokens_out for answer in answers))

    def _take(self, part: PendingPart, row: PendingRow, answer: Answer) -> None:
        if not answer.repeated:
            self._budget.spend(requests=1, tokens_in=answer.tokens_in, tokens_out=answer.tokens_out)
        part.metrics.update(
            requests=1, images=int(row.image is not None), tokens_in=answer.tokens_in, tokens_out=answer.tokens_out
        )
        failed = CaptionResult(NoCaption(answer.reason, answer.detail))
        result = failed if answer.reason else self._step.make_row(self._work, row, answer)
        _keep_samples(part, row, result)
        outcome = result.outcome
        if isinstance(outcome, NoCaption) and not answer.reason and row.retries < self._task.retries:
            row.retries += 1
            part.metrics["retries"] += 1
            self._ready.appendleft((part, row))
            return
        if isinstance(outcome, NextTurn):
            row.messages, row.turn = outcome.messages, row.turn + 1
            self._ready.appendleft((part, row))
            return
        row.image = None  # frees memory: the part may stay open for a while
        decided = outcome.fallback or outcome if isinstance(outcome, NoCaption) else outcome
        row.outcome = {**decided, "made_from": row.made_from} if isinstance(decided, dict) else decided
        part.undecided -= 1

    def _finish(self, part: PendingPart) -> Part:
        if part.samples:
            path = f"{self._run.folder}/cleaned-{part.number:05d}.json"
            self._run.lake.storage.put(path, json.dumps(part.samples, ensure_ascii=False, indent=1).encode())
        made = [row.outcome for row in part.rows if isinstance(row.outcome, dict)]
        return Part(
            number=part.number,
            rows=pa.Table.from_pylist(made, schema=TABLES[self._step.table].arrow),
            rows_in=part.rows_in,
            dropped=part.dropped,
            quarantine=[
                Quarantined(row.uid, row.outcome.reason, row.outcome.detail, row.retries + 1)
                for row in part.rows
                if isinstance(row.outcome, NoCaption)
            ],
            metrics={name: count for name, count in part.metrics.items() if count},
        )

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self._seconds[name] += time.monotonic() - started

    @contextmanager
    def _charged(self) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self._budget.spend(device_seconds=(time.monotonic() - started) * self._engine.devices)

    def _measure(self) -> None:
        times, before = self._engine.times, self._before
        self._seconds |= {"load_seconds": times.load - before.load, "warm_seconds": times.warm - before.warm}
        for name, seconds in self._seconds.items():
            self._run.measure(name, seconds)
        self._run.measure("engine_starts", times.starts - before.starts)
        self._run.measure("device_seconds", self._budget.device_seconds)
        self._run.measure("cost", self._budget.dollars)


def _keep_samples(part: PendingPart, row: PendingRow, result: CaptionResult) -> None:
    for rule in result.rules:
        part.metrics[f"cleaned_{rule}"] += 1
        samples = part.samples.setdefault(rule, [])
        if len(samples) < _SAMPLES:
            samples.append({"uid": row.uid, "before": result.before, "after": result.after})
