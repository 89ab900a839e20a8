"""The shipped models do what their cards say, on scenes that no training has used."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kale_tasks.world.models import CHECKPOINTS
from kale_tasks.world.models.examples import describe_example, fuse_example
from kale_tasks.world.models.measure import UNSEEN, measure_fuser, measure_real_names, measure_teacher
from kale_tasks.world.models.tokenizer import build_tokenizer
from kale_tasks.world.models.train import SEED
from kale_tasks.world.world import World

TOKENIZER = build_tokenizer()


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_decoding_returns_the_encoded_text(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER(text, split_special_tokens=True).input_ids) == text


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=1))
def test_a_name_is_spelled_letter_by_letter(letters: str) -> None:
    name = letters.capitalize()
    assert TOKENIZER.tokenize(name) == list(name)


def test_a_word_of_the_world_is_one_token() -> None:
    assert TOKENIZER.tokenize(" large purple bridge") == ["Ġlarge", "Ġpurple", "Ġbridge"]


def test_the_teacher_names_what_is_visible() -> None:
    figures = measure_teacher(CHECKPOINTS / "teacher", 48)
    assert figures["attributes right"] >= 0.9
    assert figures["attributes invented"] <= 0.05


def test_the_fuser_carries_facts_and_leaves_out_noise() -> None:
    figures = measure_fuser(CHECKPOINTS / "fuser", 96)  # the card has figures of five times as many
    assert figures["facts carried"] >= 0.95
    assert figures["facts invented"] <= 0.03
    assert figures["noise left out"] >= 0.95


@pytest.mark.nightly
def test_the_fuser_copies_names_of_the_real_world() -> None:
    assert measure_real_names(CHECKPOINTS / "fuser")["copied"] >= 0.9


@pytest.mark.parametrize("name", ["teacher", "fuser", "base"])
def test_every_model_has_a_card_and_a_loss_curve(name: str) -> None:
    assert "## Training" in (CHECKPOINTS / name / "README.md").read_text()
    assert (CHECKPOINTS / name / "loss.jsonl").stat().st_size > 0


def test_no_training_scene_is_used_for_measuring_or_occurs_in_a_world() -> None:
    sources = [Random(f"{SEED} {what}") for what in ("teacher", "fuser")]
    trained = {
        make(rng).scene
        for rng, make in zip(sources, (describe_example, fuse_example), strict=True)
        for _ in range(2000)
    }
    measured = {describe_example(rng).scene for rng in [Random(f"{UNSEEN} teacher")] for _ in range(500)}
    worlds = {World(seed).pair("2026-11-01", number).scene for seed in range(3) for number in range(500)}
    assert not trained & (measured | worlds)


def test_all_models_together_are_small() -> None:
    assert sum(path.stat().st_size for path in CHECKPOINTS.rglob("*") if path.is_file()) < 20e6
