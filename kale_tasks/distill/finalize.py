"""Makes a registered student out of a training: save, evaluate, describe."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from kale_tasks.charts import loss_curve, picture
from kale_tasks.distill.checkpoint import Checkpoints, checkpoint_folder
from kale_tasks.distill.curve import describe_curve, learned
from kale_tasks.distill.dataset import CaptionSample, caption_keys
from kale_tasks.distill.evaluate import (
    GeneratedCaption,
    bits_per_character,
    caption_bits,
    caption_samples,
    judging_engine,
)
from kale_tasks.distill.examples import ExampleEncoder
from kale_tasks.distill.gate import PromotionVerdict, promotion_verdict
from kale_tasks.distill.holdout import captions_again, judged_examples
from kale_tasks.distill.log import TrainingLog
from kale_tasks.distill.loss import CaptionLoss
from kale_tasks.distill.low_rank import merge_low_rank
from kale_tasks.distill.model import load, load_base, save
from kale_tasks.distill.parallel import choose_device, single_process
from kale_tasks.distill.scaling import Scaling
from kale_tasks.distill.state import TrainingState
from kale_tasks.distill.vlm_batches import open_dataset
from kale_tasks.engines.base import Model
from kale_tasks.likeness.metrics import CaptionMetrics, caption_metrics, measure, measure_teacher
from kale_tasks.likeness.wording import Wording
from kale_tasks.models import students
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.runner.run import Run

_LOGGED_SAMPLES = 12


@dataclass(frozen=True)
class FinalizedStudent:
    """The metrics of a trained student and the verdict of the promotion gate."""

    examples: int
    metrics: dict[str, Any]
    verdict: PromotionVerdict


def finalize_student(run: Run, folder: Path) -> FinalizedStudent:
    """Save the trained student to a folder, then load it from there, as engines will, and evaluate it."""
    settings, storage, process = run.settings.distill, run.lake.storage, single_process(run.settings.distill.train)
    checkpoints = Checkpoints(storage, checkpoint_folder(run.folder), process)
    state = checkpoints.newest()
    _save(run, checkpoints, state, folder)
    metrics, verdict = _evaluate(run, folder)
    log = TrainingLog(storage, run.folder, process)
    for caption in metrics["samples"]:
        log.add_text(state.step, "held out", "{sample[alt]} | {sample[caption]} | {text}".format(**caption))
    log.upload()
    curve = learned(run)
    metrics |= {"curve": state.curve, "caption_tokens": state.tokens, "scaling": asdict(curve) if curve else None}
    _describe(run, folder, metrics, curve)
    return FinalizedStudent(settings.train.steps * settings.train.batch * settings.train.accumulate, metrics, verdict)


def _save(run: Run, checkpoints: Checkpoints, state: TrainingState, folder: Path) -> None:
    model, processor = load_base(run.settings.distill)
    checkpoints.restore(state, CaptionLoss(model, processor))
    merge_low_rank(model)
    save(model.to(getattr(torch, run.settings.distill.train.dtype)), processor, folder)


def _evaluate(run: Run, folder: Path) -> tuple[dict[str, Any], PromotionVerdict]:
    captions, bits = _judged(run, "student", folder)
    samples, wording, again = [caption.sample for caption in captions], Wording(), captions_again(run)
    student = measure([caption.text for caption in captions], samples, wording, again)
    teacher = measure_teacher(samples, wording, again)
    promoted = students.promoted(run.lake, str(run.step.slice["recipe"]))
    in_use, bits_in_use = None, None
    if promoted:
        place = students.local_copy(run.lake, promoted.version)
        others, bits_in_use = _judged(run, f"{students.NAMED}{promoted.version}", place, samples)
        in_use = measure([caption.text for caption in others], [caption.sample for caption in others], wording, again)
    metrics = {
        "student": asdict(caption_metrics(student, bits)),
        "teacher": asdict(caption_metrics(teacher)),
        "in_use": asdict(caption_metrics(in_use, bits_in_use)) if in_use else None,
        "predecessor": promoted.version if promoted else None,
        "engine": judging_engine(run.settings.caption),
        "samples": [asdict(caption) for caption in captions[:_LOGGED_SAMPLES]],
    }
    return metrics, promotion_verdict(student, teacher, in_use, run.settings.distill.gate)


def _judged(
    run: Run, name: str, folder: Path, samples: Sequence[CaptionSample] | None = None
) -> tuple[list[GeneratedCaption], float]:
    """Let a model caption samples, or the held-out ones of the run. Return the captions, and the loss on its teacher's.

    It is out of memory again before the engine loads it.
    """
    samples, bits = _teachers(run, folder, samples)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    model = Model(name, load_recipe(run.settings.caption.recipe).task("student"), lambda: folder)
    return caption_samples(run.lake, run.settings.caption, model, samples), bits


def _teachers(run: Run, folder: Path, samples: Sequence[CaptionSample] | None) -> tuple[Sequence[CaptionSample], float]:
    """Return the samples to caption, and a model's loss on what its teacher wrote about them."""
    settings, recipe = run.settings.distill, load_recipe(run.settings.caption.recipe)
    model, processor = load(folder)
    if samples is None:
        examples = judged_examples(run, processor)
    else:
        encoder, lesson = ExampleEncoder(processor, recipe), recipe.own_lesson()
        examples = [example for sample in samples if (example := encoder.encode(sample, lesson))]
    dataset = open_dataset(run.settings, processor)
    model.to(choose_device(settings.train.device))
    bits = bits_per_character(caption_bits(model, processor, dataset, examples, settings.gate.batch))
    return [example.sample for example in examples], bits


def _describe(run: Run, folder: Path, metrics: dict[str, Any], curve: Scaling | None) -> None:
    """Write a card, the loss curve and all settings beside the weights."""
    card = Path(__file__).with_name("card.md").read_text(encoding="utf-8").format(
        keys=", ".join(caption_keys(run.inputs)),
        recipe=str(run.step.slice["recipe"]), base=run.config["base"],
        student=CaptionMetrics(**metrics["student"]), teacher=CaptionMetrics(**metrics["teacher"]),
        steps=run.settings.distill.train.steps, tokens=metrics["caption_tokens"], engine=metrics["engine"],
    )  # fmt: skip
    more = describe_curve(curve, folder) if curve else ""
    (folder / "README.md").write_text(card + more, encoding="utf-8")
    (folder / "loss.svg").write_bytes(picture(loss_curve(metrics["curve"]), title="Loss by step"))
    (folder / "distill.json").write_text(json.dumps(run.config, sort_keys=True, indent=1), encoding="utf-8")
