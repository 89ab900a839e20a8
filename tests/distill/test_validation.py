"""The loss on held-out captions is logged at every checkpoint, and changes nothing of the training."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from kale_tasks.distill.batches import BatchDataset
from kale_tasks.distill.checkpoint import checkpoint_folder, newest_state
from kale_tasks.distill.launch import run_training
from kale_tasks.distill.loss import CaptionLoss, Validation
from kale_tasks.distill.model import image_side, load
from kale_tasks.distill.parallel import TrainingProcess, choose_device
from kale_tasks.distill.train import example_sampler
from tests.distill.test_train import run_of


def logged(run, name):
    """The steps and values of a figure."""
    events = EventAccumulator(f"{run.lake.storage.root}/{run.folder}/tensorboard").Reload()
    return [(event.step, event.value) for event in events.Scalars(f"train/{name}")]


def validation(run, model, processor, process):
    dataset = BatchDataset(run.settings, image_side(processor), processor.tokenizer.pad_token_id)
    return Validation(process, run.settings.distill, example_sampler(run, processor), dataset)


def test_the_loss_on_held_out_captions_falls_and_is_logged_with_the_other_figures(lake):
    run = run_of(lake, steps=12, connector_steps=2, rate=5e-3, checkpoint_steps=4)
    run_training(run)
    steps, losses = zip(*logged(run, "validation_loss"), strict=True)
    assert steps == (2, 4, 8, 12) and losses[-1] < losses[0]
    for name in ("loss", "gradient_norm", "tokens_per_second", "rate", "waiting"):
        assert len(logged(run, name)) == 12


def test_it_changes_nothing_of_the_training(lake):
    curves = []
    for rows, seed in ((0, 5), (64, 5)):
        run = run_of(lake, steps=6, connector_steps=2, seed=seed, validation_rows=rows)
        for entry in list(lake.storage.entries(checkpoint_folder(run.folder))):
            lake.storage.delete(entry.path)
        run_training(run)
        curves.append(newest_state(lake.storage, checkpoint_folder(run.folder)).curve)
    assert curves[0] == curves[1] and len(curves[0]) == 6


def test_two_processes_share_the_captions_equally(lake, base):
    model, processor = load(base)
    device, run = choose_device("cpu"), run_of(lake, validation_rows=7, batch=2)
    whole = validation(run, model, processor, TrainingProcess(0, 1, device))
    shares = [validation(run, model, processor, TrainingProcess(rank, 2, device)) for rank in (0, 1)]
    assert [len(one._batches) for one in shares] == [2, 2] and len(whole._batches) == 4
    module = CaptionLoss(model, processor)
    assert module.training and whole.loss(module) == pytest.approx(whole.loss(module)) and module.training


def test_without_held_out_captions_there_is_none(lake, base):
    model, processor = load(base)
    run = run_of(lake, validation_rows=0)
    none = validation(run, model, processor, TrainingProcess(0, 1, choose_device("cpu")))
    assert none.loss(CaptionLoss(model, processor)) is None
