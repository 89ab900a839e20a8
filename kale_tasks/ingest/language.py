"""Tells the language of a short text, or that it cannot tell; the model ships inside its package."""

from functools import cache
from typing import Any

import numpy as np

from kale_tasks.ingest.rules import UNSURE

# Short texts leave little to go by: only languages that fill the web are told apart.
# fmt: off
_KNOWN = [
    "ar", "bg", "cs", "da", "de", "el", "en", "es", "fa", "fi", "fr", "he", "hi", "hu", "id",
    "it", "ja", "ko", "nl", "no", "pl", "pt", "ro", "ru", "sv", "th", "tr", "uk", "vi", "zh",
]
# fmt: on


def language(text: str, confidence: float) -> str:
    """The language, if the detector is this sure of it."""
    lang, probability = _detector().classify(text)
    return str(lang) if probability >= confidence else UNSURE


@cache
def _detector() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    detector = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    detector.set_languages(_KNOWN)
    detector.nb_ptc = np.ascontiguousarray(detector.nb_ptc)
    return detector
