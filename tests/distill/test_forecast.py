"""A training is forecast from configurations alone: parameters, operations, hours, checkpoints."""

import pytest
import torch

from kale_tasks.distill.forecast import Lengths, forecast, measured_tflops, sampled_lengths
from kale_tasks.distill.loss import CaptionLoss
from kale_tasks.distill.model import load, outline
from kale_tasks.distill.train import example_sampler
from kale_tasks.settings import load as load_settings
from tests.distill.test_train import run_of


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The settings of a production, whose models are configurations without weights: SigLIP 2 so400m, Qwen 2.5 1.5B."""
    from transformers import Qwen2Config, SiglipVisionConfig

    folder = tmp_path_factory.mktemp("real")
    SiglipVisionConfig(
        hidden_size=1152, intermediate_size=4304, num_hidden_layers=27, num_attention_heads=16, image_size=384,
        patch_size=14,
    ).save_pretrained(folder / "vision")  # fmt: skip
    Qwen2Config(
        hidden_size=1536, intermediate_size=8960, num_hidden_layers=28, num_attention_heads=12, num_key_value_heads=2,
        vocab_size=151936, tie_word_embeddings=True,
    ).save_pretrained(folder / "llm")  # fmt: skip
    changed = [f"distill.vision={folder}/vision", f"distill.llm={folder}/llm"]
    return load_settings(environ={"KALE_PROFILE": "laptop"}, overrides=changed).settings.distill


def test_the_student_of_a_production_is_built_without_its_weights(real):
    model = outline(real)
    assert {weight.device.type for weight in model.parameters()} == {"meta"}
    parts = {"vision_tower": 413, "multi_modal_projector": 4, "language_model": 1544}
    assert {
        name: round(sum(w.numel() for w in getattr(model.model, name).parameters()) / 1e6) for name in parts
    } == parts


def test_eight_gpus_train_it_within_two_tasks_of_twelve_hours(real):
    found = forecast(real, Lengths(850, 90), processes=8, task_hours=12, tflops=400)
    assert round(found.parameters / 1e6) == 1961 and round(found.trained / 1e6) == 1946
    assert found.image_tokens == 729 and found.checkpoint_bytes == found.trained * 12
    assert round(found.checkpoint_bytes_per_process / 1e9, 2) == found.checkpoint_seconds == 2.92
    assert found.flops_per_step == pytest.approx(1.15e15, rel=0.02)
    assert found.tasks == 1 and 2 < found.hours < 4
    assert forecast(real, Lengths(850, 90), processes=1, task_hours=12, tflops=400).tasks == 2


def test_a_student_that_exists_has_the_figures_of_its_weights(base, lake):
    run = run_of(lake, steps=10, connector_steps=4)
    distill = run.settings.distill
    model, processor = load(base)
    lengths = sampled_lengths(example_sampler(run, processor))
    found = forecast(distill, lengths, processes=1, task_hours=1, tflops=1e-3)
    assert found.parameters == sum(weight.numel() for weight in model.parameters())
    ids = torch.zeros(distill.train.batch, lengths.length, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    labels[:, : lengths.answer] = 1
    of_both = CaptionLoss(model, processor)
    model.model.vision_tower.requires_grad_(False)
    assert found.flops_per_step == of_both.flops(ids, labels) * distill.train.accumulate
    assert lengths.answer < lengths.length <= distill.lessons.max_tokens


def test_lengths_are_those_of_the_batches(lake, processor):
    run = run_of(lake)
    shown = [len(example.prompt) + len(example.answer) for example in example_sampler(run, processor).held_out(9, 0.5)]
    length, answer, image = sampled_lengths(example_sampler(run, processor))
    assert min(shown) < length < 2 * max(shown) and 10 < answer < 120 and image == 36


def test_the_speed_is_measured_with_a_layer_of_the_language_model(real, base):
    text = outline(real.model_copy(update={"base": str(base)})).config.text_config
    train = real.train.model_copy(update={"dtype": "float32", "device": "cpu"})
    assert 0 < measured_tflops(text, train, 64) < 100
