"""Lessons come shuffled and endless, from learned pairs only, and can be taken up at any place."""

from itertools import islice
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kale_tasks.distill.dataset import Source, Taught, held_out, taught_keys
from kale_tasks.distill.sampler import Lesson, Position, Stream
from kale_tasks.errors import BadData
from kale_tasks.lake.shards import Span
from kale_tasks.settings.distill import Mixture


def stream(source, lake, word=None, lessons=None, **train):
    of = lake.settings.distill
    chosen = of.lessons.model_copy(update={"pool_rows": 256, **(lessons or {})})
    return Stream(source, word or plain, chosen, of.train.model_copy(update={"batch": 8, "accumulate": 2, **train}))


def plain(taught, kind):
    return Lesson([1] * (len(taught.alt) % 90), [2], taught.span, taught)


def uids(shares):
    return [lesson.taught.uid for share in shares for lesson in share.lessons]


@pytest.fixture(scope="module")
def first_epochs(source, taught):
    return list(islice(stream(source, taught).shares(Position()), 150))


def test_an_epoch_shows_every_learned_caption_and_no_held_out_one(source, taught, first_epochs):
    seen = set(uids(share for share in first_epochs if share.after.epoch == 0))
    rows = {row.uid for block in range(source.blocks) for row in source.read(block)}
    assert len(rows) == 600
    assert seen == {uid for uid in rows if not held_out(uid, taught.settings.distill.lessons.held_out)}


def test_epochs_come_in_different_orders(first_epochs):
    epochs = [uids(share for share in first_epochs if share.after.epoch == epoch) for epoch in (0, 1)]
    assert set(epochs[0]) == set(epochs[1]) and epochs[0] != epochs[1]


@settings(max_examples=15, deadline=None)
@given(steps=st.integers(1, 70))
def test_the_stream_goes_on_from_any_step_as_if_never_left(source, taught, first_epochs, steps):
    position = first_epochs[2 * steps - 1].after
    again = list(islice(stream(source, taught).shares(position), 6))
    assert again == first_epochs[2 * steps : 2 * steps + 6]


def test_processes_share_each_step_and_agree_on_its_tokens(source, taught, first_epochs):
    shares = [list(islice(stream(source, taught).shares(Position(), rank, 2), 40)) for rank in (0, 1)]
    assert [share for pair in zip(*shares, strict=True) for share in pair] == first_epochs[:80]
    for one, other in zip(*shares, strict=True):
        assert one.after == other.after
        assert one.step_tokens == other.step_tokens == len(one.lessons) + len(other.lessons)


def test_a_batch_holds_lessons_of_like_length(first_epochs):
    spreads = [max(x.tokens for x in s.lessons) - min(x.tokens for x in s.lessons) for s in first_epochs]
    assert sum(spreads) / len(spreads) < 20


def test_held_out_lessons_are_the_same_for_every_training(source, taught):
    held = [lesson.taught.uid for lesson in stream(source, taught).held_out(30)]
    share = taught.settings.distill.lessons.held_out
    assert len(held) == 30 and all(held_out(uid, share) for uid in held)
    assert held == [lesson.taught.uid for lesson in stream(source, taught, batch=3).held_out(30)]


def test_a_key_never_moves_a_pair_to_the_other_side(taught):
    alone = {row.uid for b in range(2) for row in Source(taught, ["2026-11-01"]).read(b) if held_out(row.uid, 0.2)}
    both = Source(taught, taught_keys(taught, "2026-11-02"))
    assert alone <= {row.uid for b in range(both.blocks) for row in both.read(b) if held_out(row.uid, 0.2)}


def test_later_keys_are_not_learned_from(taught):
    assert taught_keys(taught, "2026-11-01") == ["2026-11-01"]
    assert taught_keys(taught, "2025-01-01") == []


def test_flagged_long_and_inventing_captions_are_left_out(taught):
    rows = [
        Taught(f"{n:032x}", "", "d", "c", invented=n == 1, flags=("truncated",) if n == 2 else (), span=Span("s", 0, 1))
        for n in range(20)
    ]
    one_block = SimpleNamespace(pools=lambda *_: [[0]], read=lambda _: rows)

    def long(taught, kind):
        return Lesson([1] * (5000 if int(taught.uid, 16) == 3 else 5), [2], taught.span, taught)

    seen = uids(islice(stream(one_block, taught, long, {"held_out": 1e-9}).shares(Position()), 20))
    assert set(seen) == {row.uid for row in rows} - {f"{n:032x}" for n in (1, 2, 3)}


def test_no_caption_to_learn_from_is_said(taught):
    nothing = SimpleNamespace(pools=lambda *_: [[0]], read=lambda _: [])
    with pytest.raises(BadData, match="No caption is left"):
        next(stream(nothing, taught).shares(Position()))
    with pytest.raises(BadData, match="held out"):
        stream(nothing, taught).held_out(5)


def test_the_mixture_is_kept(source, taught):
    asked = []

    def note(row, kind):
        asked.append(kind)
        return plain(row, kind)

    mixture = Mixture(fused=1, alt_free=1, dense=2)
    list(islice(stream(source, taught, note, {"mixture": mixture}).shares(Position()), 100))
    assert abs(asked.count("dense") / len(asked) - 0.5) < 0.08
    assert abs(asked.count("fused") / len(asked) - 0.25) < 0.08
