"""Language detection with py3langid, whose model ships inside its package."""

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

UNSURE = "und"  # ISO 639 for an undetermined language
# Short texts give a detector little evidence, so they are compared with the languages that are common on the web only.
# fmt: off
WEB_LANGUAGES = (
    "ar", "bg", "cs", "da", "de", "el", "en", "es", "fa", "fi", "fr", "he", "hi", "hu", "id",
    "it", "ja", "ko", "nl", "no", "pl", "pt", "ro", "ru", "sv", "th", "tr", "uk", "vi", "zh",
)
# Scripts by the first word of the names of their characters, each with the languages that are detected in it; the first
# one is returned for all others.
_SCRIPTS = {
    "ARABIC": ("ar", "fa"), "ARMENIAN": ("hy",), "BENGALI": ("bn",), "CJK": ("zh", "ja"),
    "CYRILLIC": ("ru", "bg", "uk"), "DEVANAGARI": ("hi",), "ETHIOPIC": ("am",), "GEORGIAN": ("ka",), "GREEK": ("el",),
    "GUJARATI": ("gu",), "GURMUKHI": ("pa",), "HANGUL": ("ko",), "HEBREW": ("he",), "HIRAGANA": ("ja",),
    "KANNADA": ("kn",), "KATAKANA": ("ja",), "KHMER": ("km",), "LAO": ("lo",), "MALAYALAM": ("ml",), "MYANMAR": ("my",),
    "SINHALA": ("si",), "TAMIL": ("ta",), "TELUGU": ("te",), "THAI": ("th",),
}
# fmt: on
# Words of English texts that no other of these languages has.
_ENGLISH = r"\b(?:the|and|with|from|that|this|our|your|you|his|how)\b"
_TOGETHER = 1024  # texts that are classified at once: what is known of them fits in the cache of a processor
_MOST_CHARS = 1000  # what follows in a text tells no more


def detect_language(text: str, languages: tuple[str, ...] | None = None) -> tuple[str, float]:
    """Return the most likely language of a text (ISO 639-1) and its probability, from 0 to 1.

    `languages` are the candidates; None means all 97 languages of the model.
    """
    ((language, probability),) = detect_languages([text], languages)
    return language, probability


def detect_languages(texts: Sequence[str], languages: tuple[str, ...] | None = None) -> list[tuple[str, float]]:
    """Return the most likely language of each text and its probability, in a quarter of the time of one by one."""
    model = _model(languages)
    chances = model.probabilities([_encoded(text[:_MOST_CHARS]) for text in texts])
    best = [model.names[number] for number in chances.argmax(axis=1)] if texts else []
    return list(zip(best, chances.max(axis=1, initial=0).tolist(), strict=True))


def languages_of(texts: Sequence[str], confidence: float) -> list[str]:
    """Return the language of each text among those common on the web, or "und" where nothing is sure.

    An English text is known by its words, a text in another script by its letters, the others by the detector, if its
    confidence suffices.
    """
    column = pa.array(texts, pa.string())
    english = pc.and_(pc.string_is_ascii(column), pc.match_substring_regex(column, _ENGLISH, ignore_case=True))
    found = ["en" if known else "" for known in english.to_pylist()]
    left = [number for number, language in enumerate(found) if not language]
    for number, guess in zip(left, detect_languages([texts[n] for n in left], WEB_LANGUAGES), strict=True):
        found[number] = guess[0] if guess[1] >= confidence else UNSURE
        if not texts[number].isascii():
            found[number] = language_of_script(texts[number], guess[0]) or found[number]
    return found


def language_of_script(text: str, guess: str) -> str | None:
    """Return the language of a text most of whose letters are of one script that is not Latin; otherwise None.

    The guess of a detector counts if that language is written in the script.
    """
    letters = [c for c in text[:_MOST_CHARS] if c.isalpha()]
    other = [c for c in letters if c > "\u036f"]
    if 2 * len(other) <= len(letters):
        return None
    scripts = [unicodedata.name(c, "?").split()[0] for c in other]
    known = _SCRIPTS.get(max(sorted(set(scripts)), key=scripts.count), ())
    return guess if guess in known else next(iter(known), None)


def _encoded(text: str) -> bytes:
    # As the model was trained: capitals alone tell nothing of the language.
    return unicodedata.normalize("NFC", text.lower() if text.isupper() else text).encode("utf-8", "surrogatepass")


@cache
def _model(languages: tuple[str, ...] | None) -> "_Model":
    return _Model(languages)


class _Model:
    """The naive Bayes model of py3langid, over many texts at once: its automaton takes a byte of each text per step."""

    def __init__(self, languages: tuple[str, ...] | None) -> None:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        known: Any = LanguageIdentifier.from_model_file(MODEL_FILE)
        if languages is not None:
            known.set_languages(list(languages))
        self.names: list[str] = list(known.nb_classes)
        self._moves = np.asarray(known.tk_nextmove, np.int32)
        self._rows = np.asarray(known.tk_row, np.int32) << 8
        self._features = np.asarray(known.tk_output, np.int32)
        self._weights = np.ascontiguousarray(known.nb_ptc, np.float32)
        self._weights_once = np.log1p(np.ones(1, np.float32)) * self._weights  # of a feature that is met once
        self._prior = np.asarray(known.nb_pc, np.float32)
        self._doubled = [(self.names.index(n), i) for i, n in enumerate(self.names) if self.names.index(n) != i]

    def probabilities(self, texts: Sequence[bytes]) -> npt.NDArray[np.float32]:
        """Return for each text the probability of each language. Without any feature all are equally likely."""
        order = np.argsort([-len(text) for text in texts], kind="stable")  # texts of about one length are next
        chances = np.zeros((len(texts), len(self.names)), np.float32)
        for start in range(0, len(texts), _TOGETHER):
            some = order[start : start + _TOGETHER]
            chances[some] = self._probabilities([texts[number] for number in some])
        for one, twin in self._doubled:  # two scripts of one language
            chances[:, one] += chances[:, twin]
            chances[:, twin] = 0
        return chances

    def _probabilities(self, texts: Sequence[bytes]) -> npt.NDArray[np.float32]:
        scores = np.zeros((len(texts), len(self.names)), np.float32)
        owners, features, counts = _counted(self._visits(texts))
        weighted = np.take(self._weights_once, features, axis=0)
        many = counts > 1
        weighted[many] = np.log1p(counts[many].astype(np.float32))[:, None] * self._weights[features[many]]
        if len(owners):
            first = np.flatnonzero(np.diff(owners, prepend=-1))
            sums = np.add.reduceat(np.ascontiguousarray(weighted.T), first, axis=1)  # fastest along a row
            scores[owners[first]] = sums.T + self._prior
        # The root of the length keeps probabilities comparable between short and long texts.
        scores /= np.sqrt([len(text) or 1 for text in texts]).astype(np.float32)[:, None]
        chances: npt.NDArray[np.float32] = np.exp(scores - scores.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        return chances

    def _visits(self, texts: Sequence[bytes]) -> npt.NDArray[np.int32]:
        """Return for each text, the longest first, the features that its bytes meet; -1 for a byte without one."""
        lengths, longest = np.array([len(text) for text in texts]), len(texts[0])
        letters = np.array(texts, f"S{longest or 1}").view(np.uint8).reshape(len(texts), -1).T.astype(np.int32)
        met = np.full((longest, len(texts)), -1, np.int32)
        states = np.zeros(len(texts), np.int32)
        left = np.searchsorted(-lengths, -np.arange(longest), side="left")  # texts that have a byte at each place
        for place, more in enumerate(left.tolist()):
            states = self._moves[self._rows[states[:more]] + letters[place, :more]]
            met[place, :more] = self._features[states]
        return met.T


def _counted(met: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Return, for each feature that a row has, the number of the row, the feature, and how often it is there."""
    met = np.sort(met, axis=1)
    new = met >= 0
    new[:, 1:] &= met[:, 1:] != met[:, :-1]
    places = np.flatnonzero(new)
    owners = places // max(1, met.shape[1])
    ends = np.minimum(np.append(places[1:], met.size), (owners + 1) * met.shape[1])
    return owners, met.ravel()[places], ends - places
