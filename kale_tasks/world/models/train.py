"""Trains the three tiny models from the world alone, in the order in which they build on each other."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from random import Random
from typing import Any

from kale_tasks.progress import Progress
from kale_tasks.world.models.build import llava, llm
from kale_tasks.world.models.card import Stage, write_card
from kale_tasks.world.models.examples import batches, describing, fusing, joining, repetitions
from kale_tasks.world.models.fit import answer_loss, fit
from kale_tasks.world.models.measure import measure_base, measure_fuser, measure_real_names, measure_teacher
from kale_tasks.world.models.save import save
from kale_tasks.world.models.tokenizer import build_processor
from kale_tasks.world.models.tower import cells, lesson_model, pixels
from kale_tasks.world.scene import Scene

SEED = "train"  # throws every dice of training; worlds have whole numbers, measurements their own word
_BATCH = 32
_COPYING = 600
_Loss = Callable[[Any], Any]


def train(out: Path, scenes: int, say: Callable[[str], None], progress: Progress) -> None:
    """Trains fuser, teacher and base, measures them on unseen scenes and writes them under `out` with their cards."""
    processor = build_processor()
    tokenizer, course = processor.tokenizer, _Course(out, progress)

    say("fuser")
    fuser = _seeded(llm, tokenizer)
    stages = _fuse(course, fuser, tokenizer)
    save(fuser, tokenizer, out / "fuser")
    _measured(out / "fuser", stages, measure_fuser(out / "fuser", scenes) | measure_real_names(out / "fuser"), say)

    say("teacher: a vision tower, and the fuser's decoder")
    model = _seeded(llava, tokenizer)
    stages = [*stages, _look(course, model.model.vision_tower)]
    model.model.language_model.load_state_dict(fuser.model.state_dict())
    stages = [*stages, _describe(course, model, tokenizer)]
    save(model, processor, out / "teacher")
    _measured(out / "teacher", stages, measure_teacher(out / "teacher", scenes), say)

    say("base: the teacher, which learns to copy again")
    stages = [*stages, _describe_and_join(course, model, tokenizer)]
    save(model, processor, out / "base")
    _measured(out / "base", stages, measure_base(out / "base", scenes), say)


@dataclass(frozen=True)
class _Course:
    """Where the loss curves go, and who hears how far the training is."""

    out: Path
    progress: Progress

    def stage(
        self, name: str, log: str, model: Any, lessons: Iterator[Any], loss: _Loss, steps: int, rate: float
    ) -> Stage:
        self.progress.begin(name, steps, "steps")
        told = fit(model, lessons, loss, steps, rate, self.out / log, self.progress)
        self.progress.end()
        return Stage(name, told)


def _seeded(build: Callable[[Any], Any], tokenizer: Any) -> Any:
    """A fresh model, the same whatever was made before it."""
    import torch

    torch.manual_seed(0)
    return build(tokenizer)


def _measured(folder: Path, stages: list[Stage], figures: dict[str, float], say: Callable[[str], None]) -> None:
    write_card(folder, stages, figures)
    say(f"  {stages[-1].told} {figures}")


def _fuse(course: _Course, model: Any, tokenizer: Any) -> list[Stage]:
    """First copying, which all else is built on, then the task, then the task again in ever smaller steps."""

    def loss(batch: tuple[Any, ...]) -> Any:
        return answer_loss(model, *batch[:2])

    def learn(name: str, log: str, steps: int, rate: float, before: Iterable[Any] = ()) -> Stage:
        lessons = batches(tokenizer, fusing, Random(f"{SEED} {name}"), 16)
        return course.stage(f"decoder: {name}", f"fuser/{log}", model, chain(before, lessons), loss, steps, rate)

    copying = islice(repetitions(tokenizer, 0, 32), _COPYING)
    return [
        learn("fuser", "loss.jsonl", 2000, 2e-3, copying),
        learn("fuser again", "loss-again.jsonl", 1500, 1e-3),
        learn("fuser once more", "loss-once-more.jsonl", 1000, 5e-4),
    ]


def _look(course: _Course, tower: Any) -> Stage:
    reader, lessons = lesson_model(tower), cells(Random(f"{SEED} tower"), _BATCH)
    name = "vision tower: labels of cells"
    return course.stage(name, "teacher/loss-tower.jsonl", reader, lessons, reader, 700, 1.5e-3)


def _describe(course: _Course, model: Any, tokenizer: Any) -> Stage:
    rng = Random(f"{SEED} teacher")
    model.model.vision_tower.requires_grad_(False)  # it sees all there is; a fresh connector would only shake it
    lessons = batches(tokenizer, describing, rng, _BATCH)
    name = "whole model: describing"
    return course.stage(name, "teacher/loss.jsonl", model, lessons, _seen(model, rng), 400, 1.5e-3)


def _describe_and_join(course: _Course, model: Any, tokenizer: Any) -> Stage:
    """By turns, so that a student begins able to see and to copy, and has never had to do both for one answer."""
    seeing = batches(tokenizer, describing, Random(f"{SEED} base sees"), _BATCH)
    copying = batches(tokenizer, joining, Random(f"{SEED} base copies"), _BATCH // 2)
    lessons = chain.from_iterable(zip(seeing, copying, strict=True))
    name = "whole model: describing and joining by turns"
    return course.stage(name, "base/loss.jsonl", model, lessons, _seen(model, Random(f"{SEED} base")), 800, 5e-4)


def _seen(model: Any, rng: Random) -> _Loss:
    def loss(batch: tuple[Any, Any, list[Scene]]) -> Any:
        ids, labels, scenes = batch
        return answer_loss(model, ids, labels, pixel_values=pixels(scenes, rng))

    return loss
