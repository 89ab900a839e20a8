"""Makes a registered student out of a training: save, evaluate, describe."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from kale_tasks.charts import loss_curve, picture
from kale_tasks.distill.batches import BatchDataset
from kale_tasks.distill.checkpoint import Checkpoints, checkpoint_folder
from kale_tasks.distill.dataset import caption_keys
from kale_tasks.distill.evaluate import generate_captions
from kale_tasks.distill.examples import ExampleEncoder
from kale_tasks.distill.gate import PromotionVerdict, promotion_verdict
from kale_tasks.distill.holdout import captions_again, judged_examples
from kale_tasks.distill.log import TrainingLog
from kale_tasks.distill.loss import CaptionLoss
from kale_tasks.distill.metrics import CaptionMetrics, GeneratedCaption, caption_metrics, measure
from kale_tasks.distill.model import image_side, load, load_base, save
from kale_tasks.distill.parallel import choose_device, single_process
from kale_tasks.distill.wording import Wording
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
    model, processor = load_base(settings)
    checkpoints.restore(state, CaptionLoss(model, processor))
    save(model.to(getattr(torch, settings.train.dtype)), processor, folder)
    metrics, verdict = _evaluate(run, folder)
    log = TrainingLog(storage, run.folder, process)
    for caption in metrics["samples"]:
        log.add_text(state.step, "held out", "{sample[alt]} | {sample[caption]} | {text}".format(**caption))
    log.upload()
    metrics |= {"curve": state.curve, "caption_tokens": state.tokens}
    _describe(run, folder, metrics)
    return FinalizedStudent(settings.train.steps * settings.train.batch * settings.train.accumulate, metrics, verdict)


def _evaluate(run: Run, folder: Path) -> tuple[dict[str, Any], PromotionVerdict]:
    captions, bits = _generate(run, folder, None)
    samples, wording, again = [caption.sample for caption in captions], Wording(), captions_again(run)
    student = measure([caption.text for caption in captions], samples, wording, again)
    teacher = measure([sample.caption for sample in samples], samples, wording, again)
    promoted = students.promoted(run.lake, str(run.step.slice["recipe"]))
    in_use, bits_in_use = None, None
    if promoted:
        others, bits_in_use = _generate(run, students.local_copy(run.lake, promoted.version), captions)
        in_use = measure([caption.text for caption in others], [caption.sample for caption in others], wording, again)
    metrics = {
        "student": asdict(caption_metrics(student, bits)),
        "teacher": asdict(caption_metrics(teacher)),
        "in_use": asdict(caption_metrics(in_use, bits_in_use)) if in_use else None,
        "predecessor": promoted.version if promoted else None,
        "samples": [asdict(caption) for caption in captions[:_LOGGED_SAMPLES]],
    }
    return metrics, promotion_verdict(student, teacher, in_use, run.settings.distill.gate)


def _generate(run: Run, folder: Path, captioned: list[GeneratedCaption] | None) -> tuple[list[GeneratedCaption], float]:
    """Let a model caption the samples that another model has captioned, or the held-out ones of the run."""
    settings = run.settings.distill
    recipe = load_recipe(run.settings.caption.recipe)
    model, processor = load(folder)
    encoder = ExampleEncoder(processor, recipe)
    if captioned is None:
        examples = judged_examples(run, processor)
    else:
        examples = [
            example for caption in captioned if (example := encoder.encode(caption.sample, recipe.own_lesson()))
        ]
    dataset = BatchDataset(run.settings, image_side(processor), processor.tokenizer.pad_token_id)
    model.to(choose_device(settings.train.device))
    max_tokens = recipe.student.sampling.max_tokens
    return generate_captions(model, processor, encoder, dataset, examples, settings.gate.batch, max_tokens)


def _describe(run: Run, folder: Path, metrics: dict[str, Any]) -> None:
    """Write a card, the loss curve and all settings beside the weights."""
    card = Path(__file__).with_name("card.md").read_text(encoding="utf-8").format(
        keys=", ".join(caption_keys(run.inputs)),
        recipe=str(run.step.slice["recipe"]), base=run.config["base"],
        student=CaptionMetrics(**metrics["student"]), teacher=CaptionMetrics(**metrics["teacher"]),
        steps=run.settings.distill.train.steps, tokens=metrics["caption_tokens"],
    )  # fmt: skip
    (folder / "README.md").write_text(card, encoding="utf-8")
    (folder / "loss.svg").write_bytes(picture(loss_curve(metrics["curve"]), title="Loss by step"))
    (folder / "distill.json").write_text(json.dumps(run.config, sort_keys=True, indent=1), encoding="utf-8")
