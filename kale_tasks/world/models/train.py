"""Trains the three tiny models on generated scenes, in the order in which they build on each other."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from random import Random
from typing import Any

from kale_tasks.progress import Progress
from kale_tasks.world.models.build import llava, llm, save
from kale_tasks.world.models.card import Stage, write_card
from kale_tasks.world.models.examples import (
    copy_batches,
    describe_example,
    example_batches,
    fuse_example,
    fuse_with_image_example,
)
from kale_tasks.world.models.fit import answer_loss, fit
from kale_tasks.world.models.measure import measure_base, measure_fuser, measure_real_names, measure_teacher
from kale_tasks.world.models.tokenizer import build_processor
from kale_tasks.world.models.tower import cell_batches, cell_classifier, pixels
from kale_tasks.world.scene import Scene

SEED = "train"  # of all training scenes; worlds have whole numbers as seeds, measurements another word
_BATCH = 32
_COPY_STEPS = 600
_Loss = Callable[[Any], Any]


def train(out: Path, scenes: int, say: Callable[[str], None], progress: Progress) -> None:
    """Train fuser, teacher and base, measure them on unseen scenes and write them to `out` with their cards."""
    processor = build_processor()
    tokenizer, trainer = processor.tokenizer, _Trainer(out, progress)

    say("fuser")
    fuser = _build_seeded(llm, tokenizer)
    stages = _train_fuser(trainer, fuser, tokenizer)
    save(fuser, tokenizer, out / "fuser")
    _write_card(out / "fuser", stages, measure_fuser(out / "fuser", scenes) | measure_real_names(out / "fuser"), say)

    say("teacher: a vision tower, and the fuser's decoder")
    model = _build_seeded(llava, tokenizer)
    stages = [*stages, _train_tower(trainer, model.model.vision_tower)]
    model.model.language_model.load_state_dict(fuser.model.state_dict())
    stages = [*stages, _train_to_describe(trainer, model, tokenizer)]
    save(model, processor, out / "teacher")
    _write_card(out / "teacher", stages, measure_teacher(out / "teacher", scenes), say)

    say("base: the teacher, trained to copy again")
    stages = [*stages, _train_to_describe_and_fuse(trainer, model, tokenizer)]
    save(model, processor, out / "base")
    _write_card(out / "base", stages, measure_base(out / "base", scenes), say)


@dataclass(frozen=True)
class _Trainer:
    """Runs the stages of the training; `out` is the folder of the models and of their loss curves."""

    out: Path
    progress: Progress

    def stage(
        self, name: str, log: str, model: Any, batches: Iterator[Any], loss: _Loss, steps: int, rate: float
    ) -> Stage:
        self.progress.begin(name, steps, "steps")
        figures = fit(model, batches, loss, steps, rate, self.out / log, self.progress)
        self.progress.end()
        return Stage(name, figures)


def _build_seeded(build: Callable[[Any], Any], tokenizer: Any) -> Any:
    import torch

    torch.manual_seed(0)
    return build(tokenizer)


def _write_card(folder: Path, stages: list[Stage], figures: dict[str, float], say: Callable[[str], None]) -> None:
    write_card(folder, stages, figures)
    say(f"  {stages[-1].figures} {figures}")


def _train_fuser(trainer: _Trainer, model: Any, tokenizer: Any) -> list[Stage]:
    """Train to copy random tokens, then to fuse texts, then to fuse again twice with lower learning rates."""

    def loss(batch: tuple[Any, ...]) -> Any:
        return answer_loss(model, *batch[:2])

    def stage(name: str, log: str, steps: int, rate: float, before: Iterable[Any] = ()) -> Stage:
        batches = example_batches(tokenizer, fuse_example, Random(f"{SEED} {name}"), 16)
        return trainer.stage(f"decoder: {name}", f"fuser/{log}", model, chain(before, batches), loss, steps, rate)

    copying = islice(copy_batches(tokenizer, 0, 32), _COPY_STEPS)
    return [
        stage("fuser", "loss.jsonl", 2000, 2e-3, copying),
        stage("fuser again", "loss-again.jsonl", 1500, 1e-3),
        stage("fuser once more", "loss-once-more.jsonl", 1000, 5e-4),
    ]


def _train_tower(trainer: _Trainer, tower: Any) -> Stage:
    classifier, batches = cell_classifier(tower), cell_batches(Random(f"{SEED} tower"), _BATCH)
    name = "vision tower: labels of cells"
    return trainer.stage(name, "teacher/loss-tower.jsonl", classifier, batches, classifier, 700, 1.5e-3)


def _train_to_describe(trainer: _Trainer, model: Any, tokenizer: Any) -> Stage:
    rng = Random(f"{SEED} teacher")
    # The tower is trained already, and gradients through an untrained connector would only disturb it.
    model.model.vision_tower.requires_grad_(False)
    batches = example_batches(tokenizer, describe_example, rng, _BATCH)
    name = "whole model: describing"
    return trainer.stage(name, "teacher/loss.jsonl", model, batches, _image_loss(model, rng), 400, 1.5e-3)


def _train_to_describe_and_fuse(trainer: _Trainer, model: Any, tokenizer: Any) -> Stage:
    """Train both tasks in turn, so that a student starts able to see and to copy, but never did both at once."""
    describing = example_batches(tokenizer, describe_example, Random(f"{SEED} base sees"), _BATCH)
    fusing = example_batches(tokenizer, fuse_with_image_example, Random(f"{SEED} base copies"), _BATCH // 2)
    batches = chain.from_iterable(zip(describing, fusing, strict=True))
    loss = _image_loss(model, Random(f"{SEED} base"))
    name = "whole model: describing and fusing in turn"
    return trainer.stage(name, "base/loss.jsonl", model, batches, loss, 800, 5e-4)


def _image_loss(model: Any, rng: Random) -> _Loss:
    def loss(batch: tuple[Any, Any, list[Scene]]) -> Any:
        ids, labels, scenes = batch
        return answer_loss(model, ids, labels, pixel_values=pixels(scenes, rng))

    return loss
