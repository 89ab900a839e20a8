"""How much of a text another text says in its own words, by the packaged text encoder."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kale_tasks.experts.minilm import MiniLM

Floats = npt.NDArray[np.float64]


class Wording:
    """Compares texts token by token. Tokens are compared by their vectors in context, so synonyms are alike.

    Each token of either text is compared with the token of the other that is most like it. What one text leaves out and
    what it adds therefore lower the figure; another order of words or sentences hardly does (as in BERTScore).
    """

    def __init__(self) -> None:
        self._encoder = MiniLM()
        self._known: dict[str, npt.NDArray[np.float32]] = {}

    def likeness(self, texts: Sequence[str], others: Sequence[str]) -> Floats:
        """Return how alike each text is to the other one of its place: 1 if they are equal."""
        return np.array([self._alike(*pair) for pair in zip(texts, others, strict=True)], np.float64)

    def _alike(self, text: str, other: str) -> float:
        one, two = self._tokens(text), self._tokens(other)
        if not (len(one) and len(two)):
            return 0.0
        cosines = one @ two.T
        said, added = float(cosines.max(0).mean()), float(cosines.max(1).mean())
        return max(0.0, 2 * said * added / max(1e-9, said + added))

    def _tokens(self, text: str) -> npt.NDArray[np.float32]:
        if text not in self._known:
            self._known[text] = self._encoder.encode_tokens(text)
        return self._known[text]
