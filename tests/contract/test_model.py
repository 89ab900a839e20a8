"""The protocol holds under interleavings, crashes and late answers; each fault of version 1 put back is found."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.contract.base import Violation
from tests.contract.world import Action, explore

KINDS = (
    ["pairs"] * 5 + ["captions"] * 5 + ["takedown"] * 3 + ["release", "maintain", "again", "there and back"] * 2
    + ["accept", "read", "preview", "rollback", "step back", "copy", "end", "lose"]
    + ["tick", "deliver", "set", "crash"] * 2 + ["step"] * 9
)  # fmt: skip
TIMES = [99] * 5 + [1, 2, 4, 8, 16, 24, 32, 48, 101, 102, 103, 103, 104, 105, 107, 110, 201, 202, 203, 203, 204, 205]
ACTION = st.tuples(
    st.sampled_from(KINDS), st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4, 5]), st.sampled_from([0, 0, 0, 1, 2, 3]),
    st.sampled_from(TIMES),
)  # fmt: skip
ACTIONS = st.lists(ACTION, min_size=5, max_size=18)


def search(bug: str, examples: int) -> tuple[int, str, Counter[str]]:
    """How many examples it takes until something promised is violated (0: nothing was), what, and what was reached."""
    tried, seen, why = 0, Counter[str](), ""

    @settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(ACTIONS)
    def look(actions: list[Action]) -> None:
        nonlocal tried, why
        if why:
            return
        tried += 1
        try:
            seen.update(explore(actions, frozenset([bug])).seen)
        except Violation as found:
            why = f"{found}: {actions}"

    look()
    return tried if why else 0, why, seen
