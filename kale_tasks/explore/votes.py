"""Blind votes between two texts of one image: which texts can be compared, which pair is next, who won how often."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from typing import Any

SIDE, AGAINST, TIE = "side", "against", "tie"  # values of a vote
_DENSE = "dense"
_Z = 1.96


@dataclass(frozen=True)
class Side:
    """One of the texts that a caption row has: the caption, or the dense caption that it was made from."""

    recipe: str
    stage: int
    dense: bool = False

    @property
    def name(self) -> str:
        """As it is stored: RECIPE/STAGE, or RECIPE/STAGE/dense."""
        return f"{self.recipe}/{self.stage}{f'/{_DENSE}' if self.dense else ''}"

    @property
    def words(self) -> str:
        """As people read it."""
        return f"{'dense captions' if self.dense else 'captions'} of {self.recipe}, stage {self.stage}"

    @property
    def column(self) -> str:
        """The column of its text."""
        return "dense_caption" if self.dense else "caption"

    @classmethod
    def parse(cls, name: str) -> "Side":
        """Read a stored name; ValueError if it is none."""
        recipe, stage, *dense = name.split("/")
        if dense not in ([], [_DENSE]) or not recipe:
            raise ValueError(f"'{name[:40]}' names no text.")
        return cls(recipe, int(stage), bool(dense))


@dataclass(frozen=True)
class Result:
    """The votes on a pair of texts."""

    side: str
    against: str
    wins: int
    losses: int
    ties: int

    @property
    def share(self) -> float | None:
        """The share of the votes with a winner that prefer the first one."""
        decided = self.wins + self.losses
        return self.wins / decided if decided else None

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval of that share, 95 %."""
        return interval(self.wins, self.wins + self.losses)


def pairs_of(slices: Iterable[Mapping[str, Any]]) -> list[tuple[Side, Side]]:
    """List the pairs of texts that captions of these recipes and stages have."""
    whole = [Side(str(one["recipe"]), int(one["stage"])) for one in slices]
    dense = [(one, Side(one.recipe, one.stage, True)) for one in whole if one.stage == 1]
    return [*dense, *combinations(whole, 2)]


def is_swapped(secret: str, by: str, uid: str, pair: Sequence[str]) -> bool:
    """Whether a person sees the second text first: by chance, always the same, and not to be guessed."""
    text = "\0".join([by, uid, *pair])
    return bool(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()[0] & 1)


def results(votes: Iterable[Mapping[str, Any]]) -> list[Result]:
    """Count the votes by pair of texts."""
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for vote in votes:
        of = counts.setdefault((vote["side"], vote["against"]), {SIDE: 0, AGAINST: 0, TIE: 0})
        of[vote["value"]] = of.get(vote["value"], 0) + 1
    return [Result(*pair, of[SIDE], of[AGAINST], of[TIE]) for pair, of in sorted(counts.items())]


def interval(hits: int, total: int) -> tuple[float, float]:
    """Wilson's interval of a share, 95 %; everything is possible without a vote."""
    if not total:
        return 0.0, 1.0
    share = hits / total
    middle, width = share + _Z**2 / (2 * total), _Z * sqrt(share * (1 - share) / total + (_Z / (2 * total)) ** 2)
    return max(0.0, (middle - width) / (1 + _Z**2 / total)), min(1.0, (middle + width) / (1 + _Z**2 / total))
