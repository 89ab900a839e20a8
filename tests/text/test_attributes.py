"""Colours and sides that a text gives to things are compared with those of other texts."""

import pytest

from kale_tasks.text.attributes import contradictions, find_attributes


def wrong(text, *sources):
    return contradictions(find_attributes(text), find_attributes("\n".join(sources)))


def test_attributes_are_found_with_the_thing_that_they_are_said_of():
    found = find_attributes("A red and navy-blue car beside two gray cups, all white.")
    assert [one.thing for one in found] == ["car", "car", "car", "cup", ""]
    assert found[1].values == found[2].values != found[0].values


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("A crimson car.", "A red car."),
        ("The car is red.", "A red car."),
        ("Red cars near a blue house.", "A blue house. A red car."),
        ("A grey and white cat.", "A white and gray cat."),
        ("A red vehicle.", "A red car and a blue truck."),
        ("A teal vase.", "A green vase."),
        ("No colours at all.", ""),
    ],
)
def test_the_same_in_other_words_contradicts_nothing(text, source):
    assert wrong(text, source) == 0


@pytest.mark.parametrize(
    ("text", "source", "count"),
    [
        ("A blue car.", "A red car.", 1),
        ("A blue car by a red house.", "A red car by a blue house.", 2),
        ("A cup at the left.", "A cup at the right.", 1),
        ("A red car and a blue house.", "A red car.", 1),
        ("A red car.", "", 1),
    ],
)
def test_another_colour_of_a_thing_and_one_that_nothing_has_are_wrong(text, source, count):
    assert wrong(text, source) == count


def test_every_source_counts():
    assert wrong("A blue car by a red house.", "A blue car.", "A red house.") == 0
