"""The protocol holds under interleavings, crashes and late answers; each fault of version 1 put back is found."""

from collections import Counter
from random import Random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.contract.base import Violation
from tests.contract.scenarios import scenario
from tests.contract.world import Action, explore

ALL = 2000  # scenarios
REACHED = {  # how often at least in all of them
    "committed pairs": 5000,
    "committed captions": 3000,
    "released rows": 5000,
    "marked": 500,
    "files deleted": 5000,
    "crashes": 100,
    "crashes between side and main": 5,
    "crashes after main": 5,
    "commit finished by another": 20,
    "takedown beside a commit": 20,
    "swept": 100,
    "late processes": 300,
    "receipt lost": 5,
    "main swap refused": 20,
    "release refused": 20,
    "lease held": 30,
    "lease taken over": 30,
    "blocked": 30,
    "rolled back": 20,
    "copy refused": 50,
}
MUTATIONS = {
    "parts-one-name": "parts put without a condition under one name",
    "side-decides": "a side table swapped, and read, without the main table deciding",
    "side-blind": "side files put without comparing what was read",
    "no-token": "old side files removed while another commit has put its own",
    "maintain-by-age": "maintenance goes by the age of files only",
    "lease-alone": "maintenance trusts its leases, and neither withdraws plans nor moves bases",
    "no-lease": "two attempts at once take no lease",
    "lease-unchecked": "a lease is not looked at again before each part",
    "scratch-by-number": "scratch files named by the number of the piece",
    "latest-input": "current inputs are read instead of the planned ones",
    "takedown-once": "the list of takedowns read once, when the run begins",
    "takedown-reread": "the list read again after the swap, but no base moved",
    "no-marks": "deduplication against earlier keys, and no stale marks",
    "no-intent": "stale marks forgotten by a process that dies after its swap",
    "check-after": "the check comes after the swap",
    "limit-replaces": "a limited run replaces the key",
    "copy-unchecked": "a copied lake is opened like any other",
    "rollback-retry": "a refused rollback is computed again, though only its first answer was lost",
    "generation": "each try counts the generation from the current commit",
    "base-by-name": "a commit compares the name of the run, which may have been committed again",
}
# Those that every test run puts back.
FOUND_SOON = ("parts-one-name", "side-decides", "maintain-by-age", "takedown-once", "no-marks", "check-after")


def search(bug: str, examples: int) -> tuple[int, list[Action], Counter[str]]:
    """How many scenarios it takes until a promise is broken (0: none is), that scenario, and what was reached."""
    tried, seen = 0, Counter[str]()
    found: list[Action] = []

    @settings(max_examples=examples, derandomize=True, database=None, deadline=None, phases=[Phase.generate])
    @given(st.randoms(use_true_random=True))
    def look(random: Random) -> None:
        nonlocal tried
        if found:
            return
        tried += 1
        actions = scenario(random)
        try:
            seen.update(explore(actions, frozenset([bug])).seen)
        except Violation:
            found.extend(actions)

    look()
    return tried if found else 0, shortest(found, bug), seen


def shortest(actions: list[Action], bug: str) -> list[Action]:
    """The same without actions that the violation does not need."""
    for i in range(len(actions)):
        less = actions[:i] + actions[i + 1 :]
        try:
            explore(less, frozenset([bug]))
        except Violation:
            return shortest(less, bug)
    return actions


@pytest.mark.parametrize("examples", [200, pytest.param(ALL, marks=pytest.mark.nightly)])
def test_the_protocol_holds(examples: int) -> None:
    tried, actions, seen = search("none", examples)
    assert not tried, actions
    for state, least in REACHED.items():
        wanted = least * examples // ALL
        assert seen[state] >= wanted, f"{state}: reached {seen[state]} times, {wanted} wanted; {seen}"


@pytest.mark.parametrize(
    "bug", [bug if bug in FOUND_SOON else pytest.param(bug, marks=pytest.mark.nightly) for bug in MUTATIONS]
)
def test_a_fault_put_back_is_found(bug: str) -> None:
    tried, _, seen = search(bug, ALL)
    assert tried, f"{MUTATIONS[bug]}: not found; {seen}"
