"""BLEU and CIDEr against reference texts, because papers print them.

They count shared word sequences. A caption that says the same in other words scores low, and one that copies the
style of the references scores high, so they rank captioners of dense captions badly. Nothing depends on them.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from kale_tasks.evaluate.measures import Item, Measure

_LENGTHS = (1, 2, 3, 4)
_WARNING = "counts shared words, not truth: it ranks dense captions badly, and no conclusion may rest on it"


def _grams(text: str, length: int) -> Counter[tuple[str, ...]]:
    words = text.lower().split()
    return Counter(tuple(words[at : at + length]) for at in range(len(words) - length + 1))


class Bleu(Measure):
    """BLEU-4 of a text against the reference of its item, smoothed by one for longer sequences."""

    name, warning = "BLEU", _WARNING

    def scores(self, items: Sequence[Item], texts: Sequence[str], others: Sequence[Sequence[str]]) -> Sequence[float]:
        return [_bleu(text, item.reference) for item, text in zip(items, texts, strict=True)]


def _bleu(text: str, reference: str) -> float:
    logs = []
    for length in _LENGTHS:
        own, known = _grams(text, length), _grams(reference, length)
        smooth = float(length > 1)
        hits, total = (own & known).total() + smooth, own.total() + smooth
        if not hits:
            return 0.0
        logs.append(math.log(hits / total))
    words, wanted = len(text.split()), len(reference.split())
    return math.exp(sum(logs) / len(logs) + min(0.0, 1 - wanted / max(words, 1)))


class Cider(Measure):
    """CIDEr of a text against the reference of its item; sequences weigh by how few references have them."""

    name, warning = "CIDEr", _WARNING

    def scores(self, items: Sequence[Item], texts: Sequence[str], others: Sequence[Sequence[str]]) -> Sequence[float]:
        references = [item.reference for item in items]
        found = np.zeros(len(items))
        for length in _LENGTHS:
            counted = [_grams(reference, length) for reference in references]
            documents = Counter(gram for grams in counted for gram in grams)
            for at, (text, grams) in enumerate(zip(texts, counted, strict=True)):
                found[at] += 10 / len(_LENGTHS) * _cosine(_grams(text, length), grams, documents, len(items))
        return found.tolist()


def _cosine(
    own: Counter[tuple[str, ...]], known: Counter[tuple[str, ...]], documents: Counter[tuple[str, ...]], total: int
) -> float:
    def weighted(grams: Counter[tuple[str, ...]]) -> dict[tuple[str, ...], float]:
        return {gram: n * math.log(max(total, 2) / max(1, documents[gram])) for gram, n in grams.items()}

    first, second = weighted(own), weighted(known)
    product = sum(value * second.get(gram, 0.0) for gram, value in first.items())
    lengths = [math.sqrt(sum(value**2 for value in vector.values())) for vector in (first, second)]
    return product / (lengths[0] * lengths[1]) if lengths[0] and lengths[1] else 0.0
