"""A scorer that needs no model: it counts shared words."""

from collections.abc import Sequence
from typing import Any

from kale_tasks.errors import BadConfig
from kale_tasks.experts.base import Scorer


class SharedWords(Scorer):
    """Scores a text by the share of its words that another text has as well."""

    def scores(self, pairs: Sequence[tuple[Any, str]]) -> list[float]:
        """Return a share for each pair of texts; BadConfig for an image."""
        return [self._share(source, text) for source, text in pairs]

    def _share(self, source: Any, text: str) -> float:
        if not isinstance(source, str):
            raise BadConfig("The scorer 'shared_words' compares texts with texts, not with images.")
        words, known = text.lower().split(), set(source.lower().split())
        return sum(word in known for word in words) / max(len(words), 1)
