"""The endless, resumable stream of training examples: filtered, encoded, shuffled and grouped into batches."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from random import Random
from typing import NamedTuple

from kale_tasks.distill.dataset import CaptionDataset, CaptionSample, is_held_out
from kale_tasks.distill.examples import TrainingExample
from kale_tasks.errors import BadData
from kale_tasks.lake.hashing import in_share
from kale_tasks.recipes.parts import Lesson
from kale_tasks.recipes.recipe import Recipe
from kale_tasks.settings.distill import Lessons, Train

Encode = Callable[[CaptionSample, Lesson], TrainingExample | None]
_LENGTH_STEP = 16  # tokens: examples whose lengths differ by less count as equally long


class StreamPosition(NamedTuple):
    """A place in the stream."""

    epoch: int = 0
    pool: int = 0
    step: int = 0


START = StreamPosition()


class MicroBatch(NamedTuple):
    """The examples of one forward pass of one process."""

    examples: list[TrainingExample]
    after: StreamPosition  # where the stream continues after the whole optimiser step
    step_tokens: int  # caption tokens of the whole optimiser step, over all passes and processes


class ExampleSampler:
    """Samples the examples of a run. Every process computes the same stream and takes its share of each step."""

    def __init__(self, dataset: CaptionDataset, encode: Encode, recipe: Recipe, lessons: Lessons, train: Train) -> None:
        self._dataset, self._encode, self._lessons, self._train = dataset, encode, lessons, train
        self._taught, self._own = recipe.student.lessons, recipe.own_lesson()

    def micro_batches(self, start: StreamPosition, rank: int = 0, world_size: int = 1) -> Iterator[MicroBatch]:
        """Yield the forward passes of one process from a place in the stream on, without end."""
        for after, batches in self._steps(start):
            tokens = sum(len(example.answer) for batch in batches for example in batch)
            for batch in batches[rank::world_size]:
                yield MicroBatch(batch, after, tokens)

    def held_out(self, rows: int, share: float) -> list[TrainingExample]:
        """Return up to `rows` captions of the held-out share, the same ones at each call."""
        samples = (
            sample
            for (block,) in self._dataset.pools(self._train.seed, 0, 1)
            for sample in self._dataset.read(block)
            if is_held_out(sample.uid, share)
        )
        return list(islice(filter(None, (self._encoded(sample, self._own) for sample in samples)), rows))

    def _steps(self, start: StreamPosition) -> Iterator[tuple[StreamPosition, list[list[TrainingExample]]]]:
        for epoch in count(start.epoch):
            empty = True
            for number, blocks in enumerate(self._dataset.pools(self._train.seed, epoch, self._lessons.pool_rows)):
                if (epoch, number) < start[:2]:
                    empty = False
                    continue
                for step, batches in enumerate(self._pool(epoch, blocks)):
                    empty = False
                    if (epoch, number, step) >= start:
                        yield StreamPosition(epoch, number, step + 1), batches
            if empty:
                raise BadData("No caption is left to train on. The filters are the settings of distill.lessons.")

    def _pool(self, epoch: int, blocks: Sequence[int]) -> list[list[list[TrainingExample]]]:
        """Return the optimiser steps of one pool, each a list of batches of examples of similar length."""
        rng = Random(f"{self._train.seed} {epoch} {blocks[0]}")
        examples = [
            example
            for block in blocks
            for sample in self._dataset.read(block)
            if self._used(sample) and (example := self._encoded(sample, _draw_lesson(rng, self._taught)))
        ]
        rng.shuffle(examples)
        examples.sort(key=lambda example: example.tokens // _LENGTH_STEP)
        size, passes = self._train.batch, self._train.accumulate
        batches = [examples[at : at + size] for at in range(0, len(examples), size)]
        rng.shuffle(batches)
        # Fill up the last step with the first batches, so that every process has its share of every step.
        batches += [batches[i % len(batches)] for i in range(-len(batches) % passes)] if batches else []
        return [batches[at : at + passes] for at in range(0, len(batches), passes)]

    def _used(self, sample: CaptionSample) -> bool:
        filters = self._lessons
        return (
            not is_held_out(sample.uid, filters.held_out)
            and in_share(f"taught {sample.uid}", filters.share)
            and sample.invented <= filters.max_invented
            and not set(sample.flags) & set(filters.drop_flags)
        )

    def _encoded(self, sample: CaptionSample, lesson: Lesson) -> TrainingExample | None:
        example = self._encode(sample, lesson)
        return example if example and example.tokens <= self._lessons.max_tokens else None


def _draw_lesson(rng: Random, lessons: Sequence[Lesson]) -> Lesson:
    return rng.choices(lessons, [lesson.weight for lesson in lessons])[0]
