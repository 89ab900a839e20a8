"""From lessons to a student: train in one process or several, save what came of it, judge it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kale_tasks.distill import checkpoint as resume
from kale_tasks.distill.batches import Pictures
from kale_tasks.distill.checkpoint import State
from kale_tasks.distill.curve import loss_curve
from kale_tasks.distill.evaluate import Answer, Figures, answers, figures
from kale_tasks.distill.model import load, load_base, save, side_of
from kale_tasks.distill.parallel import Group, alone, device_of, spread
from kale_tasks.distill.promotion import Verdict, verdict
from kale_tasks.distill.step import Distill, checkpoints
from kale_tasks.distill.tokenization import Wording
from kale_tasks.distill.train import log_of, stream_of, train
from kale_tasks.errors import BadConfig
from kale_tasks.lake.tables import Lake
from kale_tasks.models import students as registry
from kale_tasks.recipes.recipe import load_recipe, recipe_name
from kale_tasks.runner.run import Run, reopen
from kale_tasks.settings.model import Settings

_SAMPLES = 12


@dataclass(frozen=True)
class Graduate:
    """A finished student's figures."""

    lessons: int
    metrics: dict[str, Any]
    verdict: Verdict


def learn(run: Run) -> None:
    """Train to the last step, in as many processes as the settings say."""
    settings = run.settings.distill.train
    if settings.accumulate % settings.processes:
        raise BadConfig("distill.train.accumulate must be a multiple of distill.train.processes.")
    if settings.processes == 1:
        train(alone(settings), run)
    else:
        base = run.standing.fingerprint if run.standing else None
        spread(_learn_again, settings, run.settings, (run.key, run.fingerprint, base))


def graduate(run: Run, folder: Path) -> Graduate:
    """Save the trained student to a folder and judge it there, as every engine will load it."""
    import torch

    settings, storage = run.settings.distill, run.lake.storage
    state = resume.newest(storage, checkpoints(run)) or State()
    model, processor = load_base(settings)
    trained = resume.weights(storage, checkpoints(run))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(trained[f"model.{name}"])
    save(model.to(getattr(torch, settings.train.dtype)), processor, folder)
    metrics, gate = _judged(run, folder)
    log = log_of(run, alone(settings.train))
    for sample in metrics["samples"]:
        log.say(state.step, "held out", "{taught[alt]} | {taught[caption]} | {text}".format(**sample))
    log.keep()
    metrics |= {"curve": state.curve, "caption_tokens": state.tokens}
    _describe(run, folder, metrics)
    return Graduate(settings.train.steps * settings.train.batch * settings.train.accumulate, metrics, gate)


def _learn_again(group: Group, settings: Settings, made: tuple[str, str, str | None]) -> None:
    from kale_tasks.progress import Silent, make

    progress = make(settings.log) if group.leads else Silent()
    run, plan = reopen(Distill(), Lake(settings), settings, made, progress)
    progress.begin(f"distill {run.key}", plan.chunks[0].stop)
    train(group, run)


def _judged(run: Run, folder: Path) -> tuple[dict[str, Any], Verdict]:
    said, student = _examined(run, folder, None)
    teacher = figures([Answer(answer.taught, answer.taught.caption) for answer in said])
    in_use = registry.promoted(run.lake)
    other = _examined(run, registry.local_copy(run.lake, in_use.version), said)[1] if in_use else None
    gate = verdict(student, teacher, other, run.settings.distill.gate)
    metrics = {
        "student": asdict(student),
        "teacher": asdict(teacher),
        "in_use": asdict(other) if other else None,
        "predecessor": in_use.version if in_use else None,
        "samples": [asdict(answer) for answer in said[:_SAMPLES]],
    }
    return metrics, gate


def _examined(run: Run, folder: Path, like: list[Answer] | None) -> tuple[list[Answer], Figures]:
    """A student's answers and figures: on the held-out captions, or on the very ones that another answered."""
    settings = run.settings.distill
    recipe = load_recipe(run.settings.caption.recipe)
    model, processor = load(folder)
    device = device_of(settings.train.device)
    wording = Wording(processor, recipe)
    if like is None:
        lessons = stream_of(run, processor).held_out(settings.gate.rows)
    else:
        lessons = [lesson for answer in like if (lesson := wording.lesson(answer.taught, "fused"))]
    pictures = Pictures(run.settings, side_of(processor), processor.tokenizer.pad_token_id)
    most = recipe.student.sampling.max_tokens
    said, bits = answers(model.to(device), processor, wording, pictures, lessons, settings.gate.batch, most)
    return said, figures(said, bits)


def _describe(run: Run, folder: Path, metrics: dict[str, Any]) -> None:
    """Put a card, the loss curve and all settings beside the weights."""
    train = run.settings.distill.train
    card = Path(__file__).with_name("card.md").read_text(encoding="utf-8").format(
        keys=", ".join(run.inputs), recipe=recipe_name(run.settings.caption.recipe), base=run.config["base"],
        student=Figures(**metrics["student"]), teacher=Figures(**metrics["teacher"]),
        steps=train.steps, tokens=metrics["caption_tokens"],
    )  # fmt: skip
    (folder / "README.md").write_text(card, encoding="utf-8")
    (folder / "loss.svg").write_text(loss_curve(metrics["curve"]), encoding="utf-8")
    (folder / "distill.json").write_text(json.dumps(run.config, sort_keys=True, indent=1), encoding="utf-8")
