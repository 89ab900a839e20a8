"""Sentences of captions."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kale_tasks.quality.features import sentences as sentence_counts
from kale_tasks.release.formats.base import StoredImages
from kale_tasks.release.formats.text import Sentences
from kale_tasks.text.sentences import is_whole, sentences


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A red boat. It lies on the beach.", ["A red boat. ", "It lies on the beach."]),
        ('A poster of "Mrs. Doubtfire." It is framed.', ['A poster of "Mrs. Doubtfire." ', "It is framed."]),
        ("Built by J. K. Rowe & Co. in 1.5 years! Really?", ["Built by J. K. Rowe & Co. in 1.5 years! ", "Really?"]),
        ("No end", ["No end"]),
        ("", []),
    ],
)
def test_abbreviations_initials_and_decimals_do_not_end_a_sentence(text: str, found: list[str]) -> None:
    assert sentences(text) == found


@given(st.text())
def test_sentences_put_together_are_the_text(text: str) -> None:
    assert "".join(sentences(text)) == text


@pytest.mark.parametrize(("text", "whole"), [("It ends.", True), ('He said "no!"', True), ("It was cut", False)])
def test_a_cut_sentence_is_not_whole(text: str, whole: bool) -> None:
    assert is_whole(text) is whole


def test_metrics_and_releases_split_as_cleaning_does() -> None:
    texts = ['A poster of "Mrs. Doubtfire." It is framed.', "Photo by Dr. B. Smith, LLC! For you.", None]
    assert sentence_counts(pa.chunked_array([texts])).to_pylist() == [2, 2, 0]
    columns = {name: pa.array([None] * 3, pa.string()) for name in ("uid", "url", "sha256", "key", "stage")}
    released = Sentences().convert(pa.table(columns | {"caption": texts}), StoredImages.__new__(StoredImages))
    assert [len(found) for found in released["sentences"].to_pylist()] == [2, 2, 0]
