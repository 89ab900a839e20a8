"""The facts of a text: what must be equal for two texts to be copies."""

# ruff: noqa: RUF001 - typographic signs are what is tested

import pytest

from kale_tasks.ingest.facts import facts_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A well-known café in Zürich", "A WELL KNOWN CAFE IN ZURICH!"),
        ('The "Big 5" of 1914–1918', "The Big 5 of 1914-1918"),
        ("A 10×15 cm print of 1,500 men", "a 10 x 15cm print of 1500 men"),
        ("Kodak™ camera", "Kodak camera"),
        ("Tom & Jerry", "Tom and Jerry"),
        ("Photo of a heron", "a heron"),
        ("A heron at dawn", "A heron at dawn - Royalty Free Stock Image | pictures.com"),
    ],
)
def test_texts_that_differ_in_form_or_boilerplate_have_equal_facts(one: str, other: str) -> None:
    assert facts_of(one) == facts_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("at -5 °C", "at 5 °C"),
        ("1.5 miles", "15 miles"),
        ("1 5 miles", "15 miles"),
        ("for $25", "for €25"),
        ("a rug of 5' in red", 'a rug of 5" in red'),
        ("10² men", "102 men"),
        ("5½ inches", "51/2 inches"),
        ("written in C++", "written in C"),
        ("Mug | Red", "Mug | Blue"),
        ("with a hat", "without a hat"),
        ("from Paris to Rome", "from Rome to Paris"),
        ("हिन्दी", "हन्द"),
    ],
)
def test_texts_that_differ_in_a_fact_do_not(one: str, other: str) -> None:
    assert facts_of(one) != facts_of(other)


def test_a_tail_is_boilerplate_if_the_host_has_its_name() -> None:
    text = "Northern lights over Yellowknife"
    assert facts_of(f"{text} - Aurora Chaser", "www.aurora-chaser.ca") == facts_of(text)
    assert facts_of(f"{text} - Aurora Chaser", "pictures.example") != facts_of(text)
    assert facts_of(f"{text} - Aurora Chaser", "www.aurora-chaser.ca", strict=True) != facts_of(text, strict=True)
