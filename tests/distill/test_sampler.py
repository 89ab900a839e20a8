"""Examples are shuffled and endless, never held out, and the stream can be resumed at any step."""

from itertools import islice
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kale_tasks.distill.dataset import CaptionDataset, CaptionSample, is_held_out, stage1_keys
from kale_tasks.distill.examples import TrainingExample
from kale_tasks.distill.sampler import ExampleSampler, StreamPosition
from kale_tasks.errors import BadData
from kale_tasks.lake.shards import Span
from kale_tasks.recipes.parts import Lesson
from kale_tasks.recipes.recipe import load_recipe


def make_sampler(dataset, lake, encode=None, recipe=None, held_out=None, **train):
    distill = lake.settings.distill
    lessons = distill.lessons.model_copy(update={"pool_rows": 256, "held_out": held_out or distill.lessons.held_out})
    train = distill.train.model_copy(update={"batch": 8, "accumulate": 2, **train})
    return ExampleSampler(dataset, encode or encode_length, recipe or load_recipe("demo"), lessons, train)


def encode_length(sample, lesson):
    """An example whose prompt is as long as the alt-text."""
    return TrainingExample([1] * (len(sample.alt) % 90), [2], sample.span, sample)


def uids(batches):
    return [example.sample.uid for batch in batches for example in batch.examples]


@pytest.fixture(scope="module")
def first_epochs(dataset, captioned):
    return list(islice(make_sampler(dataset, captioned).micro_batches(StreamPosition()), 150))


def test_an_epoch_has_every_caption_but_the_held_out_ones(dataset, captioned, first_epochs):
    seen = set(uids(batch for batch in first_epochs if batch.after.epoch == 0))
    rows = {row.uid for block in range(dataset.blocks) for row in dataset.read(block)}
    assert len(rows) == 600
    assert seen == {uid for uid in rows if not is_held_out(uid, captioned.settings.distill.lessons.held_out)}


def test_epochs_have_different_orders(first_epochs):
    epochs = [uids(batch for batch in first_epochs if batch.after.epoch == epoch) for epoch in (0, 1)]
    assert set(epochs[0]) == set(epochs[1]) and epochs[0] != epochs[1]


@settings(max_examples=15, deadline=None)
@given(steps=st.integers(1, 70))
def test_a_stream_resumed_at_any_step_continues_unchanged(dataset, captioned, first_epochs, steps):
    position = first_epochs[2 * steps - 1].after
    resumed = list(islice(make_sampler(dataset, captioned).micro_batches(position), 6))
    assert resumed == first_epochs[2 * steps : 2 * steps + 6]


def test_processes_share_each_step_and_agree_on_its_tokens(dataset, captioned, first_epochs):
    sampler = make_sampler(dataset, captioned)
    by_rank = [list(islice(sampler.micro_batches(StreamPosition(), rank, 2), 40)) for rank in (0, 1)]
    assert [batch for pair in zip(*by_rank, strict=True) for batch in pair] == first_epochs[:80]
    for one, other in zip(*by_rank, strict=True):
        assert one.after == other.after
        assert one.step_tokens == other.step_tokens == len(one.examples) + len(other.examples)


def test_a_batch_has_examples_of_similar_length(first_epochs):
    lengths = [[example.tokens for example in batch.examples] for batch in first_epochs]
    assert sum(max(batch) - min(batch) for batch in lengths) / len(lengths) < 20


def test_held_out_examples_are_the_same_for_every_training(dataset, captioned):
    share = captioned.settings.distill.lessons.held_out
    held = [example.sample.uid for example in make_sampler(dataset, captioned).held_out(30, share)]
    assert len(held) == 30 and all(is_held_out(uid, share) for uid in held)
    assert held == [example.sample.uid for example in make_sampler(dataset, captioned, batch=3).held_out(30, share)]


def test_another_key_does_not_change_what_is_held_out(captioned):
    alone = CaptionDataset.open(captioned, "demo", ["2026-11-01"])
    both = CaptionDataset.open(captioned, "demo", stage1_keys(captioned, "demo", "2026-11-02"))
    of_one, of_both = (
        {row.uid for block in range(data.blocks) for row in data.read(block) if is_held_out(row.uid, 0.2)}
        for data in (alone, both)
    )
    assert of_one and of_one < of_both


def test_later_keys_are_not_used(captioned):
    assert stage1_keys(captioned, "demo", "2026-11-01") == ["2026-11-01"]
    assert stage1_keys(captioned, "demo", "2025-01-01") == []


def test_flagged_long_and_inventing_captions_are_left_out(captioned):
    rows = [
        CaptionSample(
            f"{n:032x}", "", "d", "c", invented=n == 1, flags=("truncated",) if n == 2 else (), span=Span("s", 0, 1)
        )
        for n in range(20)
    ]
    one_block = SimpleNamespace(pools=lambda *_: [[0]], read=lambda _: rows)

    def encode(sample, lesson):
        return TrainingExample([1] * (5000 if int(sample.uid, 16) == 3 else 5), [2], sample.span, sample)

    sampler = make_sampler(one_block, captioned, encode, held_out=1e-9)
    seen = uids(islice(sampler.micro_batches(StreamPosition()), 20))
    assert set(seen) == {row.uid for row in rows} - {f"{n:032x}" for n in (1, 2, 3)}


def test_a_dataset_without_usable_captions_raises(captioned):
    empty = make_sampler(SimpleNamespace(pools=lambda *_: [[0]], read=lambda _: []), captioned)
    with pytest.raises(BadData, match="No caption is left to train on"):
        next(empty.micro_batches(StreamPosition()))


def test_lessons_are_drawn_by_their_weights(dataset, captioned):
    drawn = []

    def encode(sample, lesson):
        drawn.append((lesson.answer, lesson.without))
        return encode_length(sample, lesson)

    recipe = load_recipe("demo")
    lessons = [
        Lesson(weight=1, answer="caption"),
        Lesson(weight=1, answer="dense", without=["alt"]),
        Lesson(weight=2, answer="dense", user="Describe."),
    ]
    recipe = recipe.model_copy(update={"student": recipe.student.model_copy(update={"lessons": lessons})})
    list(islice(make_sampler(dataset, captioned, encode, recipe).micro_batches(StreamPosition()), 100))
    assert abs(drawn.count(("dense", [])) / len(drawn) - 0.5) < 0.08
    assert abs(drawn.count(("caption", [])) / len(drawn) - 0.25) < 0.08
