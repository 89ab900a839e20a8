"""The endless stream of lessons: chosen, worded, sorted into batches; the same wherever it is taken up again."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from random import Random
from typing import Any, NamedTuple

from kale_tasks.distill.dataset import Source, Taught, held_out
from kale_tasks.errors import BadData
from kale_tasks.lake.shards import Span
from kale_tasks.settings.distill import Lessons, Mixture, Train


class Lesson(NamedTuple):
    """Token ids of a question with its picture's place, and of the one right answer."""

    question: list[int]
    answer: list[int]
    span: Span
    taught: Taught

    @property
    def tokens(self) -> int:
        """Tokens in all."""
        return len(self.question) + len(self.answer)


Word = Callable[[Taught, str], Lesson | None]


class Position(NamedTuple):
    """A place in the stream."""

    epoch: int = 0
    pool: int = 0
    step: int = 0


START = Position()


class Share(NamedTuple):
    """What one process computes in one forward pass."""

    lessons: list[Lesson]
    after: Position  # where the stream goes on when the whole optimiser step is done
    step_tokens: int  # caption tokens of that whole step, by which its loss is divided


class Stream:
    """The lessons of a run; every process sees all of it and takes its own share."""

    def __init__(self, source: Source, word: Word, lessons: Lessons, train: Train) -> None:
        self._source, self._word, self._lessons, self._train = source, word, lessons, train

    def shares(self, start: Position, rank: int = 0, world: int = 1) -> Iterator[Share]:
        """The forward passes of one process from a place in the stream on."""
        for position, group in self._steps(start):
            tokens = sum(len(lesson.answer) for batch in group for lesson in batch)
            for batch in group[rank::world]:
                yield Share(batch, position, tokens)

    def held_out(self, rows: int) -> list[Lesson]:
        """Lessons that no training ever sees, the same ones each time, in the way a student is used."""
        found: list[Lesson] = []
        for (block,) in self._source.pools(self._train.seed, 0, 1):
            for taught in self._source.read(block):
                if held_out(taught.uid, self._lessons.held_out) and (lesson := self._worded(taught, "fused")):
                    found.append(lesson)
            if len(found) >= rows:
                return found[:rows]
        if not found:
            raise BadData("No caption is held out to judge the student on: raise distill.lessons.held_out.")
        return found

    def _steps(self, start: Position) -> Iterator[tuple[Position, list[list[Lesson]]]]:
        for epoch in count(start.epoch):
            empty = True
            for number, blocks in enumerate(self._source.pools(self._train.seed, epoch, self._lessons.pool_rows)):
                if (epoch, number) < start[:2]:
                    empty = False
                    continue
                for step, group in enumerate(self._pool(epoch, blocks)):
                    empty = False
                    if (epoch, number, step) >= start:
                        yield Position(epoch, number, step + 1), group
            if empty:
                raise BadData("No caption is left to learn from: see distill.lessons for what is left out.")

    def _pool(self, epoch: int, blocks: Sequence[int]) -> list[list[list[Lesson]]]:
        """Optimiser steps of one pool, each some batches of lessons of like length."""
        rng = Random(f"{self._train.seed} {epoch} {blocks[0]}")
        lessons = [
            lesson
            for block in blocks
            for taught in self._source.read(block)
            if self._wanted(taught) and (lesson := self._worded(taught, _kind(rng, self._lessons.mixture)))
        ]
        rng.shuffle(lessons)
        lessons.sort(key=lambda lesson: lesson.tokens // 16)
        size, passes = self._train.batch, self._train.accumulate
        batches = [lessons[at : at + size] for at in range(0, len(lessons), size)]
        rng.shuffle(batches)
        # A last step that lacks batches takes again from the first: every process has its share in every step.
        batches += [batches[i % len(batches)] for i in range(-len(batches) % passes)] if batches else []
        return [batches[at : at + passes] for at in range(0, len(batches), passes)]

    def _wanted(self, taught: Taught) -> bool:
        choice = self._lessons
        return (
            not held_out(taught.uid, choice.held_out)
            and taught.invented <= choice.max_invented
            and not set(taught.flags) & set(choice.drop_flags)
        )

    def _worded(self, taught: Taught, kind: str) -> Lesson | None:
        lesson = self._word(taught, kind)
        return lesson if lesson and lesson.tokens <= self._lessons.max_tokens else None


def _kind(rng: Random, mixture: Mixture) -> str:
    weights: dict[str, Any] = mixture.model_dump()
    return rng.choices(list(weights), list(weights.values()))[0]
