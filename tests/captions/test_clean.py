"""Cleaning removes what does not belong to a caption, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kale_tasks.captions.clean import RULES, Cleaner
from kale_tasks.recipes.parts import Clean
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.text.sentences import sentences
from kale_tasks.world.describe import dense
from kale_tasks.world.scene import make_scene

CLEANER = Cleaner(Clean(), load_recipe("kale").task("fused").prompt)  # type: ignore[union-attr]
GOOD = "A red tower stands beside a small house in Kaldor."


@pytest.mark.parametrize(
    ("rule", "answer", "caption"),
    [
        ("markup", f"**{GOOD}**", GOOD),
        ("markup", f'"{GOOD}"', GOOD),
        ("markup", f"# Caption\n\n{GOOD}<|im_end|>", f"Caption {GOOD}"),
        ("chat", f"Sure! Here is the merged caption: {GOOD}", GOOD),
        ("chat", f"{GOOD} Let me know if you need more.", GOOD),
        ("intro", "The image shows a red tower on the left.", "A red tower on the left."),
        ("leak", f"{GOOD} It provides detailed real-world knowledge.", GOOD),
        ("leak", f"{GOOD} The sentence structure is nice.", GOOD),
        ("leak", f"{GOOD} It keeps the description where the two disagree about what is visible.", GOOD),
        ("loop", f"{GOOD} {GOOD} {GOOD}", GOOD),
        ("loop", f"{GOOD} The sky is blue and green and green and green and green and green and", GOOD),
    ],
)
def test_a_rule_removes_what_does_not_belong_to_the_caption(rule: str, answer: str, caption: str) -> None:
    cleaned = CLEANER.clean(answer)
    assert cleaned.text == caption
    assert rule in cleaned.fired


@pytest.mark.parametrize(
    ("rule", "answer"),
    [
        ("empty", "  \n "),
        ("refusal", "I'm sorry, but I can't assist with that."),
        ("refusal", "As an AI language model, I see a tower."),
        ("refusal", "There is no image provided. Please upload an image."),
        ("leak", "This caption merges the web text with the description."),
        ("length", "A tower."),
        ("language", "Ein roter Turm steht neben einem kleinen Haus auf der grünen Wiese hinter dem See."),
        ("language", "美しい古い町の写真です。夏の晴れた日に撮影しました。"),
    ],
)
def test_an_answer_without_a_caption_is_refused(rule: str, answer: str) -> None:
    cleaned = CLEANER.clean(answer)
    assert (cleaned.text, cleaned.refused) == ("", rule)


def test_a_truncated_caption_ends_with_its_last_whole_sentence() -> None:
    assert CLEANER.clean(f"{GOOD} The house has a ro", "length").text == GOOD
    assert CLEANER.clean("A red tower stands beside a small ho", "length").refused == "tail"


def test_phrases_of_the_recipe_reveal_a_leak_too() -> None:
    text = f"{GOOD} It is rendered in octane style."
    assert CLEANER.clean(text).text == text
    assert Cleaner(Clean(lexicon=["octane style"]), CLEANER.prompt).clean(text).text == GOOD


def test_openings_are_kept_if_the_recipe_says_so() -> None:
    text = "The image shows a red tower on the left."
    assert Cleaner(Clean(intro=False), CLEANER.prompt).clean(text).text == text


def test_a_caption_that_is_too_long_loses_whole_sentences() -> None:
    short = Cleaner(Clean(max_words=12), CLEANER.prompt)
    assert short.clean(f"{GOOD} And then there is much more to be said of it.").text == GOOD


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "I'm sorry for being late, as depicted on the shirt.",
        'A sign reads "I can\'t breathe" in the hands of a protester.',
        "Dr. J. K. Rowling signs books in St. Paul at No. 5 Main Ave. on Monday.",
        "The world is real and the sentence was long for the man in court.",
    ],
)
def test_sound_captions_are_not_changed(text: str) -> None:
    cleaned = CLEANER.clean(text)
    assert (cleaned.text, cleaned.fired) == (text, ())


@given(st.randoms(use_true_random=False))
def test_true_captions_of_the_sample_world_are_not_changed(rng) -> None:  # type: ignore[no-untyped-def]
    text = dense(make_scene(rng))
    assert CLEANER.clean(text).text == text


@given(st.text())
def test_cleaning_a_cleaned_caption_changes_nothing(text: str) -> None:
    once = CLEANER.clean(text)
    assert once.refused in ("", "empty", *RULES)
    assert bool(once.text) != bool(once.refused)
    if once.text:
        again = CLEANER.clean(once.text)
        assert again.text in ("", once.text) or len(again.text) < len(once.text)


@given(st.text())
def test_sentences_joined_are_the_text(text: str) -> None:
    assert "".join(sentences(text)) == text
