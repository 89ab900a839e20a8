"""The learning curve of a student: the same training on shares of its captions, and what twice as many would give."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from kale_tasks.charts import learning_curve, picture
from kale_tasks.distill.checkpoint import Checkpoints, checkpoint_folder
from kale_tasks.distill.dataset import caption_keys
from kale_tasks.distill.evaluate import caption_bits
from kale_tasks.distill.holdout import judged_examples
from kale_tasks.distill.launch import run_training
from kale_tasks.distill.loss import CaptionLoss
from kale_tasks.distill.model import load_base
from kale_tasks.distill.parallel import choose_device, single_process
from kale_tasks.distill.scaling import Scaling, fit_scaling
from kale_tasks.distill.vlm_batches import open_dataset
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import plan
from kale_tasks.settings.model import Settings

_DOUBT = "\n{} trainings are too few, or lie too far from the curve, to say whether more captions would help."


def learned(run: Run) -> Scaling | None:
    """Train students on shares of the captions, and fit a curve to their losses; None if no shares are set.

    What is trained is not trained again in the next try.
    """
    shares = run.settings.distill.curve
    if not shares:
        return None
    found = [_losses(run, share) for share in sorted(shares)] + [_losses_of(run)]
    captions = [round(_captions(run) * share) for share in (*sorted(shares), 1)]
    characters = [characters for _, characters in found[-1]]
    bits = [[bits for bits, _ in one] for one in found]
    return fit_scaling(captions, np.array(bits, np.float64), np.array(characters, np.float64))


def describe_curve(curve: Scaling, folder: Path) -> str:
    """Draw a curve to a file beside the card, and say in the card what it shows."""
    largest = curve.captions[-1]
    predicted = (2 * largest, curve.predicted, curve.low, curve.high)
    line = [(size, curve.loss(size)) for size in np.geomspace(curve.captions[0], 2 * largest, 40).tolist()]
    points = list(zip(curve.captions, curve.losses, strict=True))
    (folder / "curve.svg").write_bytes(picture(learning_curve(points, line, predicted), title="Loss by captions"))
    doubt = "" if curve.tells else _DOUBT.format(len(points))
    rows = "\n".join(f"| {captions:,} | {loss:.4f} |" for captions, loss in points)
    return Path(__file__).with_name("curve.md").read_text(encoding="utf-8").format(
        curve=curve, rows=rows, sizes=len(points), twice=2 * largest, doubt=doubt
    )  # fmt: skip


def smaller(settings: Settings, share: float) -> Settings:
    """Settings for a training on a share of the captions: as many steps for each caption, and no curve of its own."""
    train = settings.distill.train
    steps = {name: max(1, round(getattr(train, name) * share)) for name in ("steps", "connector_steps")}
    steps["connector_steps"] = min(steps["connector_steps"], train.connector_steps)
    return settings.with_values({"distill": {"lessons": {"share": share}, "train": steps, "curve": []}})


def _losses(run: Run, share: float) -> list[tuple[float, int]]:
    """Return the losses of a student trained on a share of the captions, kept by an earlier try or made now."""
    storage, place = run.lake.storage, f"{run.folder}/curve-{share:g}.json"
    if storage.exists(place):
        return [tuple(one) for one in json.loads(storage.read(place))]
    part = Run(run.step, run.lake, smaller(run.settings, share), run.key)
    plan(part)
    run_training(part)
    found = _losses_of(part)
    storage.put(place, json.dumps(found).encode())
    for entry in list(storage.entries(checkpoint_folder(part.folder))):
        storage.delete(entry.path)
    return found


def _losses_of(run: Run) -> list[tuple[float, int]]:
    """Return the loss of a trained student on each held-out caption in bits, and the characters of the caption."""
    settings, process = run.settings.distill, single_process(run.settings.distill.train)
    model, processor = load_base(settings)
    checkpoints = Checkpoints(run.lake.storage, checkpoint_folder(run.folder), process)
    checkpoints.restore(checkpoints.newest(), CaptionLoss(model, processor))
    dataset = open_dataset(run.settings, processor)
    model.to(choose_device(settings.train.device))
    return caption_bits(model, processor, dataset, judged_examples(run, processor), 1)


def _captions(run: Run) -> float:
    """The captions that are not held out, before those with flags are left out."""
    held_out: Any = run.settings.distill.lessons.held_out
    return float(sum(run.rows(key).count for key in caption_keys(run.inputs)) * (1 - held_out))
