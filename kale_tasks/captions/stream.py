"""Streams the rows of many parts through one engine: it is never left idle at a part's border.

Requests of the next part go in while answers of this one are still out. A part is handed on as soon as its last row
is decided, so what a crash can cost is the parts in flight: one, and what the engine holds of the next.
"""

import json
import time
import zlib
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

from kale_tasks.contract.step import Part, Quarantined
from kale_tasks.engines.base import Answer, Engine, Request
from kale_tasks.lake.schemas import TABLES
from kale_tasks.recipes.recipe import Message, Sampling
from kale_tasks.runner.run import Run

Row = dict[str, Any]
_SAMPLES = 3  # before and after, of each cleaning rule and part


@dataclass(frozen=True)
class Refused:
    """No row came of an answer; `instead` is the row to fall back to when asking again does not help."""

    reason: str
    detail: str = ""
    instead: Row | None = None


@dataclass(frozen=True)
class Verdict:
    """What an answer is worth, and what its cleaning did: rule, text before, text after."""

    outcome: Row | Refused
    cleaned: Sequence[str] = ()
    before: str = ""
    after: str = ""


@dataclass
class Item:
    """A row on its way: what is asked of the model, and what is known of it besides."""

    uid: str
    messages: Sequence[Message] = ()
    image: bytes | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    outcome: Row | Refused | None = None
    tries: int = 0


@dataclass
class Draft:
    """A part on its way."""

    number: int
    rows_in: int
    items: Sequence[Item]
    dropped: Counter[str] = field(default_factory=Counter)
    metrics: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[Row]] = field(default_factory=dict)
    open: int = 0


class Judge(Protocol):
    """What a step brings: its rows, and its judgement of the answers."""

    table: str
    sampling: Sampling
    retries: int

    def draft(self, number: int) -> Draft:
        """Read a part's rows and word its requests; called ahead, in another thread."""

    def judge(self, item: Item, answer: Answer) -> Verdict:
        """Make a row of an answer, or refuse it."""


class Stream:
    """One chunk's way through an engine."""

    def __init__(self, run: Run, engine: Engine, desk: Judge) -> None:
        self._run, self._engine, self._desk, self._settings = run, engine, desk, run.settings.caption
        self._ready: deque[tuple[Draft, Item]] = deque()
        self._asked: dict[int, tuple[Draft, Item]] = {}
        self._count = self._since_start = 0
        self._started = False
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def parts(self, numbers: Sequence[int]) -> Iterator[Part]:
        """The parts as they are finished."""
        with ThreadPoolExecutor(1) as ahead, self._engine:
            waiting = deque(numbers)
            coming = [ahead.submit(self._desk.draft, waiting.popleft())] if waiting else []
            try:
                while coming or self._ready or self._asked:
                    while coming and self._has_room() and not self._ready:
                        draft = self._timed("prepare_seconds", coming.pop().result)
                        coming = [ahead.submit(self._desk.draft, waiting.popleft())] if waiting else []
                        yield from self._open(draft)
                    self._submit()
                    if self._asked:
                        yield from self._collect()
            finally:
                self._account()

    def _open(self, draft: Draft) -> Iterator[Part]:
        asked = [item for item in draft.items if item.outcome is None]
        draft.open = len(asked)
        self._ready.extend((draft, item) for item in asked)
        if not asked:
            yield self._part(draft)

    def _has_room(self) -> bool:
        return self._engine_pending() < self._settings.in_flight and not self._is_due()

    def _engine_pending(self) -> int:
        return self._engine.pending if self._started else 0

    def _is_due(self) -> bool:
        return 0 < self._settings.recycle <= self._since_start

    def _submit(self) -> None:
        if self._is_due() and not self._asked:
            self._engine.stop()
            self._started = False
            self._since_start = 0
        while self._ready and self._has_room():
            if not self._started:
                self._engine.start()
                self._started = True
            draft, item = self._ready.popleft()
            self._asked[self._count] = (draft, item)
            self._timed("generate_seconds", lambda item=item: self._engine.submit(self._request(item)))
            self._count += 1
            self._since_start += 1

    def _request(self, item: Item) -> Request:
        sampling = self._desk.sampling
        return Request(
            id=self._count,
            messages=item.messages,
            image=item.image,
            temperature=sampling.retry_temperature if item.tries else sampling.temperature,
            seed=(zlib.crc32(item.uid.encode()) + sampling.seed + item.tries) % 2**31,
        )

    def _collect(self) -> Iterator[Part]:
        answers = self._timed("generate_seconds", self._engine.finished)
        for answer in answers:
            draft, item = self._asked.pop(answer.id)
            self._take(draft, item, answer)
            if not draft.open:
                yield self._part(draft)
        self._run.progress.advance(0, answers=len(answers), tokens_out=sum(answer.tokens_out for answer in answers))

    def _take(self, draft: Draft, item: Item, answer: Answer) -> None:
        draft.metrics.update(
            requests=1, images=int(item.image is not None), tokens_in=answer.tokens_in, tokens_out=answer.tokens_out
        )
        failed = Verdict(Refused(answer.reason, answer.detail))
        verdict = failed if answer.reason else self._desk.judge(item, answer)
        self._note(draft, item, verdict)
        again = isinstance(verdict.outcome, Refused) and not answer.reason and item.tries < self._desk.retries
        if again:
            item.tries += 1
            draft.metrics["retries"] += 1
            self._ready.appendleft((draft, item))
            return
        item.image = None  # bytes of rows that are decided need not be kept
        item.outcome = verdict.outcome
        if isinstance(verdict.outcome, Refused) and verdict.outcome.instead is not None:
            item.outcome = verdict.outcome.instead
        draft.open -= 1

    def _note(self, draft: Draft, item: Item, verdict: Verdict) -> None:
        for rule in verdict.cleaned:
            draft.metrics[f"cleaned_{rule}"] += 1
            samples = draft.samples.setdefault(rule, [])
            if len(samples) < _SAMPLES:
                samples.append({"uid": item.uid, "before": verdict.before, "after": verdict.after})

    def _part(self, draft: Draft) -> Part:
        if draft.samples:
            path = f"{self._run.folder}/cleaned-{draft.number:05d}.json"
            self._run.lake.storage.put(path, json.dumps(draft.samples, ensure_ascii=False, indent=1).encode())
        rows = [item.outcome for item in draft.items if isinstance(item.outcome, dict)]
        return Part(
            number=draft.number,
            rows=pa.Table.from_pylist(rows, schema=TABLES[self._desk.table].arrow),
            rows_in=draft.rows_in,
            dropped=draft.dropped,
            quarantine=[
                Quarantined(item.uid, item.outcome.reason, item.outcome.detail, item.tries + 1)
                for item in draft.items
                if isinstance(item.outcome, Refused)
            ],
            metrics={name: count for name, count in draft.metrics.items() if count},
        )

    def _timed(self, name: str, act: Any) -> Any:
        started = time.monotonic()
        try:
            return act()
        finally:
            self._seconds[name] += time.monotonic() - started

    def _account(self) -> None:
        times = self._engine.times
        self._seconds |= {"load_seconds": times.load, "warm_seconds": times.warm}
        busy = (times.load + times.warm + self._seconds["generate_seconds"]) * self._engine.devices
        for name, seconds in self._seconds.items():
            self._run.measure(name, seconds)
        self._run.measure("engine_starts", times.starts)
        self._run.measure("device_seconds", busy)
        self._run.measure("cost", busy / 3600 * self._settings.device_hour_price)
