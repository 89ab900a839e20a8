"""Looking for the words that a pattern needs spares it most texts, and never changes what is found."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kale_tasks.text.needed import AnyOf, needed_words
from kale_tasks.text.taming import find_orders
from kale_tasks.text.words import expressions

LISTS = ["orders", "dismissals", "instructions", "spam", "refusal", "leaked"]
FRAGMENTS = [one for name in LISTS for one in expressions(name)]
PLAIN = re.compile("|".join(f"(?:{one})" for one in FRAGMENTS), re.IGNORECASE)
GUARDED = AnyOf(FRAGMENTS)
# What patterns that ignore case take for i, s and k, beside the capital letters.
DISGUISES = str.maketrans({"i": "\u0131", "s": "\u017f", "k": "\u212a"})
matching = st.sampled_from(FRAGMENTS).flatmap(lambda one: st.from_regex(re.compile(one, re.IGNORECASE)))
disguised = matching.map(lambda text: text.translate(DISGUISES))
either = st.lists(st.one_of(matching, disguised, matching.map(str.upper), st.text()), max_size=3).map(" ".join)


@settings(max_examples=300, deadline=None)
@given(either)
def test_the_first_match_is_that_of_all_patterns_in_one(text: str) -> None:
    found, wanted = GUARDED.search(text), PLAIN.search(text)
    assert (found and found.span()) == (wanted and wanted.span())


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        (r"\b(ignore|forget)\b.{0,60}\b(all|rules?)\b", {"ignore", "forget"}),
        (r"sentence \d", {"sentence "}),
        (r"(?:a caption)?[a-z]+", set()),
        (r"write|\d+", set()),
        (r"(?:again ){2}", {"again "}),
    ],
)
def test_a_pattern_needs_the_words_of_its_rarest_part(expression: str, words: set[str]) -> None:
    assert needed_words(expression) == words


def test_a_caption_takes_a_tenth_of_a_millisecond() -> None:
    text = "A quiet harbour lies below a wide and cloudy sky, seen in 1889 by Jan Toorop; the pier is wet."
    began = time.process_time()
    for _ in range(1000):
        assert find_orders(text) is None
    assert time.process_time() - began < 0.3  # seconds; without a look for words it takes 0.9
