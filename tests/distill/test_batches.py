"""Batches hold the pixels and labels of their examples, whichever process decodes the images."""

import io
from itertools import islice

import pytest
import torch
from PIL import Image

from kale_tasks.distill.batches import IGNORED, BatchDataset, decode_pixels, load_batches
from kale_tasks.distill.sampler import ExampleSampler, MicroBatch, StreamPosition
from kale_tasks.errors import BadData
from kale_tasks.lake.shards import Span
from kale_tasks.recipes.recipe import load_recipe

PAD, SIDE = 0, 48


@pytest.fixture(scope="module")
def micro_batches(dataset, captioned, encoder):
    settings = captioned.settings.distill
    sampler = ExampleSampler(dataset, encoder.encode, load_recipe("demo"), settings.lessons, settings.train)
    return list(islice(sampler.micro_batches(StreamPosition()), 6))


def test_only_answers_have_labels_and_padding_comes_last(micro_batches, captioned):
    batch = BatchDataset(captioned.settings, SIDE, PAD)[micro_batches[0]]
    for row, example in enumerate(micro_batches[0].examples):
        counted = batch.labels[row] != IGNORED
        assert batch.labels[row][counted].tolist() == example.answer
        assert batch.ids[row][: example.tokens].tolist() == example.prompt + example.answer
        assert (batch.ids[row][example.tokens :] == PAD).all()
    assert batch.pixels.shape == (len(micro_batches[0].examples), 3, SIDE, SIDE)


def test_the_number_of_workers_does_not_change_the_batches(micro_batches, captioned):
    dataset = BatchDataset(captioned.settings, SIDE, PAD)
    alone, by_workers = (
        list(load_batches(dataset, iter(micro_batches), workers, pin_memory=False)) for workers in (0, 2)
    )
    assert len(alone) == len(by_workers) == len(micro_batches)
    for one, other in zip(alone, by_workers, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one[:3], other[:3], strict=True))
        assert one[3:] == other[3:]


def test_a_broken_image_removes_only_its_own_example(micro_batches, captioned):
    good = micro_batches[0]
    broken = good.examples[1]._replace(span=Span(good.examples[1].span.shard, 3, 40))
    batch = MicroBatch([good.examples[0], broken, *good.examples[2:]], good.after, good.step_tokens)
    assert len(BatchDataset(captioned.settings, SIDE, PAD)[batch].ids) == len(good.examples) - 1
    with pytest.raises(BadData, match=f"None of the 1 images .* {broken.sample.uid}"):
        BatchDataset(captioned.settings, SIDE, PAD)[MicroBatch([broken], good.after, 1)]


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_images_of_any_size_and_mode_are_converted(mode):
    data = io.BytesIO()
    Image.new(mode, (37, 90), 77 if mode == "L" else (77,) * len(mode)).save(data, "jpeg")
    assert decode_pixels(data.getvalue(), 64).shape == (3, 64, 64)


def test_an_image_of_the_right_size_is_not_resized():
    image = Image.effect_noise((32, 32), 90).convert("RGB")
    data = io.BytesIO()
    image.save(data, "png")
    pixels = decode_pixels(data.getvalue(), 32)
    assert bytes(pixels.permute(1, 2, 0).flatten().tolist()) == image.tobytes()


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\xff\xd8\xff\xe0" + b"x" * 99, b"<svg/>"])
def test_data_that_is_no_image_gives_none(data):
    assert decode_pixels(data, 32) is None
