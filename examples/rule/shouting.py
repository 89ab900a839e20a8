"""A rule of its own package: drops alt-texts that are mostly written in capitals."""

from kale_tasks.ingest.rules import PairRow


class Shouting:
    """Drops rows in which more than a share of the letters are capitals."""

    version = 1  # raise it when the rule decides otherwise: keys that were made with it become stale

    def __init__(self, max_share: float = 0.7, min_letters: int = 12) -> None:
        self.max_share, self.min_letters = max_share, min_letters

    def __call__(self, row: PairRow) -> bool:
        """Return whether the row is dropped."""
        letters = [letter for letter in row.text if letter.isalpha()]
        capitals = sum(letter.isupper() for letter in letters)
        return len(letters) >= self.min_letters and capitals > self.max_share * len(letters)
