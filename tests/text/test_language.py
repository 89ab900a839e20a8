"""The language of a text, among the candidates that the caller names."""

import pytest
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from kale_tasks.text.language import UNSURE, WEB_LANGUAGES, detect_language, detect_languages, languages_of
from tests.text.language_texts import ENGLISH, OTHER

GERMAN = "Ein Blick auf das alte Schloss an einem sonnigen Tag"


@pytest.mark.parametrize("candidates", [None, WEB_LANGUAGES, ("de", "en")])
def test_a_sentence_is_recognised_among_any_candidates(candidates: tuple[str, ...] | None) -> None:
    language, probability = detect_language(GERMAN, candidates)
    assert language == "de" and probability > 0.9


def test_only_candidates_are_returned() -> None:
    latin = "Gallia est omnis divisa in partes tres, quarum unam incolunt Belgae"
    assert detect_language(latin)[0] == "la"
    assert detect_language(latin, WEB_LANGUAGES)[0] in WEB_LANGUAGES


def test_languages_of_many_texts_are_those_of_the_package() -> None:
    detector = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    texts = [
        GERMAN,
        "",
        "?",
        "THE OLD MILL",
        "Стари мост",
        "naïve café",
        "古城",
        "a" * 900,
        "The view of the old harbour",
    ]
    for text, (language, probability) in zip(texts, detect_languages(texts), strict=True):
        expected = detector.classify(text)
        assert language == expected[0] and probability == pytest.approx(expected[1], abs=1e-3)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("পুরানো শহরের দৃশ্য", "bn"),
        ("பழைய நகரத்தின் காட்சி", "ta"),
        ("ძველი ქალაქის ხედი", "ka"),
        ("Стара куќа во планина", "bg"),
        ("Nikon Никон D750", UNSURE),
        ("Vase with a view", "en"),
        ("Turnpoint", UNSURE),
        ("Ein Blick auf das alte Schloss", "de"),
    ],
)
def test_a_short_text_is_known_by_its_words_or_its_script(text: str, language: str) -> None:
    assert languages_of([text, "..."], 0.6) == [language, UNSURE]


def test_errors_of_both_kinds_on_short_texts_that_nothing_was_chosen_on() -> None:
    own = [line.split(" ", 1) for line in OTHER]
    found = languages_of([*ENGLISH, *(text for _, text in own)], 0.6)
    english, others = found[: len(ENGLISH)], found[len(ENGLISH) :]
    dropped = [text for text, one in zip(ENGLISH, english, strict=True) if one not in ("en", UNSURE)]
    kept = [text for (_, text), one in zip(own, others, strict=True) if one in ("en", UNSURE)]
    assert len(dropped) <= 4
    assert len(kept) <= 4
