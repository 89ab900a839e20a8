"""A rule of ingest: drop alt-texts that are little more than a product number."""

from kale_tasks.ingest.rules import PairRow


class ProductNumber:
    """Drops texts in which one word has many digits and few other words surround it."""

    version = 1  # raise it when the rule decides otherwise: keys made with it become stale

    def __init__(self, min_digits: int = 5, max_words: int = 4) -> None:
        self.min_digits, self.max_words = min_digits, max_words

    def __call__(self, row: PairRow, /) -> bool:
        """Return whether the row is dropped."""
        words = row.text.split()
        digits = max((sum(letter.isdigit() for letter in word) for word in words), default=0)
        return digits >= self.min_digits and len(words) <= self.max_words
