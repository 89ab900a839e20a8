"""The tokens of images count, as many as the processor of a model gives them."""

from dataclasses import replace

import pytest
from PIL import Image

from kale_tasks.bench.checkpoint import make_checkpoint
from kale_tasks.distill.dataset import CaptionSample
from kale_tasks.distill.examples import ExampleEncoder
from kale_tasks.distill.forecast import forecast, lengths_of
from kale_tasks.distill.loss import CaptionLoss
from kale_tasks.distill.model import load, load_processor
from kale_tasks.distill.step import Distill
from kale_tasks.distill.train import example_sampler
from kale_tasks.distill.vlm_batches import ProcessedBatches
from kale_tasks.lake.shards import Span
from kale_tasks.lake.tables import Lake
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.runner.run import Run
from tests.distill import small
from tests.distill.test_train import run_of
from tests.engines.families import picture

SIZES = [(64, 64), (300, 200), (97, 640), (1024, 768), (31, 33), (500, 900)]
TEMPLATE = (
    "{% for message in messages %}{% for part in message.content %}"
    "{{ '<image>' if part.type == 'image' else part.text }}{% endfor %}{% endfor %}"
)
RECIPE = load_recipe("demo")


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    """A tiny Qwen3-VL, whose images have as many tokens as they have squares of 32 pixels."""
    task = RECIPE.task("student")
    texts = [task.prompt.system, task.prompt.user, "A red cup named Ubuna."]
    return make_checkpoint("qwen3_vl", tmp_path_factory.mktemp("qwen3_vl"), texts)


def idefics():
    """A processor that cuts large images into tiles, with tokens of their own between them."""
    from transformers import Idefics3ImageProcessor, Idefics3Processor

    from kale_tasks.world.models.tokenizer import build_tokenizer

    tokenizer = build_tokenizer()
    tokenizer.chat_template = TEMPLATE
    return Idefics3Processor(Idefics3ImageProcessor(), tokenizer, image_seq_len=16, chat_template=TEMPLATE)


@pytest.mark.parametrize("kind", ["qwen", "idefics"])
def test_an_example_is_as_long_as_the_processor_makes_it(kind, qwen, tmp_path):
    settings = small.small_settings(tmp_path, qwen)
    processor = load_processor(settings.distill) if kind == "qwen" else idefics()
    lake, shard, samples = Lake(settings), b"", []
    for number, (width, height) in enumerate(SIZES):
        data = picture(width, height, number)
        span = Span("images/shard.bin", len(shard), len(data))
        sample = CaptionSample(f"{number:032x}", "Ubuna", "A cup.", "A red cup.", 0, (), span, size=(width, height))
        samples.append(sample)
        shard += data
    lake.storage.put("images/shard.bin", shard)
    encoder, batches = ExampleEncoder(processor, RECIPE), ProcessedBatches(settings, processor)
    for sample in samples:
        example = encoder.encode(sample, RECIPE.own_lesson())
        assert example.tokens == batches.encode([example]).ids.numel()
        assert example.image_tokens > 16


def test_an_image_of_a_shape_that_the_model_refuses_is_left_out(qwen, tmp_path):
    processor = load_processor(small.small_settings(tmp_path, qwen).distill)
    encoder = ExampleEncoder(processor, RECIPE)
    narrow = CaptionSample("0" * 32, "Ubuna", "A cup.", "A red cup.", 0, (), Span("s", 0, 1), size=(2, 1000))
    assert encoder.encode(narrow, RECIPE.own_lesson()) is None
    assert encoder.encode(replace(narrow, size=(100, 100)), RECIPE.own_lesson())


def test_examples_that_are_too_long_with_their_images_are_left_out(qwen, tmp_path):
    lake = Lake(small.small_settings(tmp_path, qwen))
    small.commit_captions(lake, small.KEY, 60)
    run = run_of(lake)
    processor = load_processor(run.settings.distill)
    longest = max(example.tokens for example in example_sampler(run, processor).held_out(60, 1))
    with_longest = run.settings.with_values({"distill": {"lessons": {"max_tokens": longest - 1}}})
    sampler = example_sampler(Run(Distill("demo"), lake, with_longest, small.KEY), processor)
    assert longest > 64 + max(len(example.answer) for example in sampler.held_out(60, 1))
    assert 0 < len(sampler.held_out(60, 1)) < 60


def test_a_forecast_counts_images_and_the_patches_that_are_merged(qwen, tmp_path):
    lake = Lake(small.small_settings(tmp_path, qwen, connector_steps=0, vision=True))
    small.commit_captions(lake, small.KEY, 60)
    run = run_of(lake)
    lengths = lengths_of(run)
    found = forecast(run.settings.distill, lengths, processes=1, task_hours=1, tflops=1e-3)
    assert lengths.image == found.image_tokens == 64 < found.length - lengths.answer
    assert f"{found.length} tokens an example, 64 of them the image" in found.text


def test_the_operations_are_close_to_those_counted(qwen):
    from torch.utils.flop_counter import FlopCounterMode

    model, processor = load(qwen)
    module = CaptionLoss(model, processor)
    model.set_attn_implementation("eager")  # the counter does not see the other implementations
    texts, images = [processor.image_token + "red cup " * 40] * 2, [[Image.new("RGB", (512, 256))]] * 2
    made = dict(processor(text=texts, images=images, return_tensors="pt"))
    ids = made.pop("input_ids")
    with FlopCounterMode(display=False) as counter:
        module(ids, ids, made).backward()
    assert module.flops(ids, ids) == pytest.approx(counter.get_total_flops(), rel=0.2)
