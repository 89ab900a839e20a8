"""The language of a text, among the candidates that the caller names."""

import pytest

from kale_tasks.text.language import WEB_LANGUAGES, detect_language

GERMAN = "Ein Blick auf das alte Schloss an einem sonnigen Tag"


@pytest.mark.parametrize("candidates", [None, WEB_LANGUAGES, ("de", "en")])
def test_a_sentence_is_recognised_among_any_candidates(candidates: tuple[str, ...] | None) -> None:
    language, probability = detect_language(GERMAN, candidates)
    assert language == "de" and probability > 0.9


def test_only_candidates_are_returned() -> None:
    latin = "Gallia est omnis divisa in partes tres, quarum unam incolunt Belgae"
    assert detect_language(latin)[0] == "la"
    assert detect_language(latin, WEB_LANGUAGES)[0] in WEB_LANGUAGES
