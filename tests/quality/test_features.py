"""What is derived from texts, on any text."""

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kale_tasks.quality.drift import psi
from kale_tasks.quality.features import distinct_share, foreign, loops, matches, sentences, words

TEXTS = st.lists(st.one_of(st.none(), st.text()), max_size=20)


def column(texts: list[str | None]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(texts, pa.string())])


@given(TEXTS)
def test_every_text_gets_an_answer(texts: list[str | None]) -> None:
    found = column(texts)
    for derived in (words(found), sentences(found), distinct_share(found), loops(found), foreign(found)):
        assert len(derived) == len(texts) and derived.null_count == 0


@given(st.lists(st.text(alphabet=st.characters(codec="ascii", exclude_categories=["C"])), min_size=1))
@example([" "])
def test_words_and_their_variety_are_those_of_a_plain_count(texts: list[str]) -> None:
    found = column(list(texts))
    assert words(found).to_pylist() == [len(text.split()) for text in texts]
    known = [len(set(text.lower().split())) / len(text.split()) if text.split() else 1 for text in texts]
    assert distinct_share(found).to_pylist() == pytest.approx(known)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("refusal", "I'm sorry, but I can't describe this."),
        ("refusal", "As an AI language model, I see a dog."),
        ("leaked", "Based on real-world information, this is a dog."),
        ("leaked", "Here is the caption: a dog."),
        ("leaked", "A dog.<|im_end|>"),
        ("mojibake", "CafÃ© au lait"),
        ("mojibake", "It\N{REPLACEMENT CHARACTER}s a dog"),
        ("placeholder", "IMG_2034.jpg"),
        ("placeholder", "1920x1080"),
    ],
)
def test_a_trace_is_found(name: str, text: str) -> None:
    assert matches(column([text]), name).to_pylist() == [True]


@pytest.mark.parametrize("name", ["refusal", "leaked", "mojibake", "placeholder"])
@pytest.mark.parametrize(
    "text",
    [
        "A dog sits beside the user manual of a camera.",
        "The sign reads 'SORRY, WE ARE CLOSED' in red letters.",
        "São Paulo, café Königsallee, façade of Ångström hall",
        "A man who cannot be seen clearly stands at the door.",
        "Photo of a lighthouse at Skagen, Denmark, in 1931",
    ],
)
def test_innocent_text_is_left_alone(name: str, text: str) -> None:
    assert matches(column([text]), name).to_pylist() == [False]


@given(st.lists(st.integers(0, 500), min_size=51, max_size=51))
def test_a_shape_has_not_drifted_from_itself(counts: list[int]) -> None:
    assert psi(counts, counts) == 0


@given(st.integers(50, 500))
def test_a_shifted_shape_has_drifted(rows: int) -> None:
    before, after = [0] * 51, [0] * 51
    before[4], before[5], after[8], after[9] = rows, rows, rows, rows
    assert psi(before, after) > 0.5
