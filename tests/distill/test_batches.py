"""Batches hold the right pixels and labels, whoever decodes them."""

import io
from itertools import islice

import pytest
import torch
from PIL import Image

from kale_tasks.distill.batches import IGNORED, Pictures, batches, pixels_of
from kale_tasks.distill.sampler import Position, Share, Stream
from kale_tasks.errors import BadData
from kale_tasks.lake.shards import Span

PAD, SIDE = 0, 48


@pytest.fixture(scope="module")
def shares(source, taught, wording):
    of = taught.settings.distill
    return list(islice(Stream(source, wording.lesson, of.lessons, of.train).shares(Position()), 6))


def test_only_the_answer_is_learned(shares, taught):
    batch = Pictures(taught.settings, SIDE, PAD)[shares[0]]
    for row, lesson in enumerate(shares[0].lessons):
        learned = batch.labels[row] != IGNORED
        assert batch.labels[row][learned].tolist() == lesson.answer
        assert batch.ids[row][: lesson.tokens].tolist() == lesson.question + lesson.answer
        assert (batch.ids[row][lesson.tokens :] == PAD).all()
    assert batch.pixels.shape == (len(shares[0].lessons), 3, SIDE, SIDE)


def test_workers_change_nothing(shares, taught):
    alone, helped = (
        list(batches(Pictures(taught.settings, SIDE, PAD), iter(shares), workers, pin=False)) for workers in (0, 2)
    )
    assert len(alone) == len(helped) == len(shares)
    for one, other in zip(alone, helped, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one[:3], other[:3], strict=True))
        assert one[3:] == other[3:]


def test_a_broken_picture_costs_only_itself(shares, taught):
    good = shares[0]
    broken = good.lessons[1]._replace(span=Span(good.lessons[1].span.shard, 3, 40))
    share = Share([good.lessons[0], broken, *good.lessons[2:]], good.after, good.step_tokens)
    batch = Pictures(taught.settings, SIDE, PAD)[share]
    assert len(batch.ids) == len(good.lessons) - 1
    with pytest.raises(BadData, match="None of 1 pictures"):
        Pictures(taught.settings, SIDE, PAD)[Share([broken], good.after, 1)]


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_pictures_of_any_size_and_mode_fit(mode):
    data = io.BytesIO()
    Image.new(mode, (37, 90), 77 if mode == "L" else (77,) * len(mode)).save(data, "jpeg")
    assert pixels_of(data.getvalue(), 64).shape == (3, 64, 64)


def test_a_picture_of_the_right_size_is_left_as_it_is():
    image = Image.effect_noise((32, 32), 90).convert("RGB")
    data = io.BytesIO()
    image.save(data, "png")
    pixels = pixels_of(data.getvalue(), 32)
    assert bytes(pixels.permute(1, 2, 0).flatten().tolist()) == image.tobytes()


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\xff\xd8\xff\xe0" + b"x" * 99, b"<svg/>"])
def test_what_is_no_picture_is_none(data):
    assert pixels_of(data, 32) is None
