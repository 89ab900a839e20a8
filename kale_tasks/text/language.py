"""Language detection with py3langid, whose model ships inside its package."""

from functools import cache
from typing import Any

import numpy as np

UNSURE = "und"  # ISO 639 for an undetermined language
# Short texts give a detector little evidence, so they are compared with the languages that are common on the web only.
# fmt: off
WEB_LANGUAGES = (
    "ar", "bg", "cs", "da", "de", "el", "en", "es", "fa", "fi", "fr", "he", "hi", "hu", "id",
    "it", "ja", "ko", "nl", "no", "pl", "pt", "ro", "ru", "sv", "th", "tr", "uk", "vi", "zh",
)
# fmt: on


def detect_language(text: str, languages: tuple[str, ...] | None = None) -> tuple[str, float]:
    """Return the most likely language of a text (ISO 639-1) and its probability, from 0 to 1.

    `languages` are the candidates; None means all 97 languages of the model.
    """
    language, probability = _detector(languages).classify(text)
    return str(language), float(probability)


@cache
def _detector(languages: tuple[str, ...] | None) -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    detector = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    if languages is not None:
        detector.set_languages(list(languages))
        # Selecting columns leaves a strided array, which is slow to multiply.
        detector.nb_ptc = np.ascontiguousarray(detector.nb_ptc)
    return detector
