"""No order of operations, however unlucky, loses, doubles, mixes or shows a row that it should not.

`KALE_SEED=7 pytest tests/operations -k sequences_of` plays the sequence of one seed again; with `KALE_SHRINK=1` it
then drops operations for as long as the sequence still fails.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.operations.forks import ForkServer
from tests.operations.machine import Machine
from tests.operations.sequences import Sequence_, as_lines, overlapping, sequence_of, shrunk
from tests.operations.source import image_server

OPERATIONS = ("set", "land", "takedown", "maintain", "copy")
FEW = 4  # sequences that `make test` plays
MOST_SEQUENCES = 50  # in which a bug must be found
BUGS = ("forget_later_keys",)
_AT_ONCE = 2


class Player:
    """Plays sequences, two at once."""

    def __init__(self, folder: Path, port: int, servers: Sequence[ForkServer]) -> None:
        self._folder, self._port, self._servers = folder, port, servers
        self._played = 0

    def failures(self, seeds: Sequence[int], operations: Sequence[str] = OPERATIONS) -> list[str]:
        """Return a text for each seed whose sequence ends with problems."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            shares = pool.map(
                lambda i: [self._failure(i, seed, operations) for seed in seeds[i::_AT_ONCE]], range(_AT_ONCE)
            )
            return [text for share in shares for text in share if text]

    def problems(self, sequence: Sequence_, server: int = 0) -> list[str]:
        """Play one sequence in a new lake."""
        self._played += 1
        folder = self._folder / f"{server}-{self._played}"
        return Machine(self._servers[server], folder, self._port).play(sequence)

    def _failure(self, server: int, seed: int, operations: Sequence[str]) -> str:
        sequence = sequence_of(seed, operations)
        problems = self.problems(sequence, server)
        if problems and "KALE_SHRINK" in os.environ:
            sequence = shrunk(sequence, lambda smaller: self.problems(smaller, server))
        return "\n  ".join([f"KALE_SEED={seed}", *as_lines(sequence), *problems]) if problems else ""


@contextmanager
def player(folder: Path, patches: Sequence[str] = ()) -> Iterator[Player]:
    with ExitStack() as stack:
        port = stack.enter_context(image_server())
        yield Player(folder, port, [stack.enter_context(ForkServer(patches)) for _ in range(_AT_ONCE)])


def play(folder: Path, seeds: Sequence[int]) -> None:
    with player(folder) as playing:
        failures = playing.failures(seeds)
    assert not failures, "\n".join(failures)


@pytest.mark.timeout(900)
def test_sequences_of_operations(tmp_path: Path) -> None:
    play(tmp_path, [int(os.environ["KALE_SEED"])] if "KALE_SEED" in os.environ else range(FEW))


@pytest.mark.nightly
@pytest.mark.timeout(4 * 3600)
def test_many_sequences_of_operations(tmp_path: Path) -> None:
    play(tmp_path, range(FEW, int(os.environ.get("OPERATION_SEQUENCES", "20"))))


def test_more_than_a_quarter_of_the_operations_overlap() -> None:
    shares = [overlapping(sequence_of(seed, OPERATIONS)) for seed in range(100)]
    assert sum(shares) / len(shares) > 0.25


def test_a_seed_always_makes_the_same_sequence() -> None:
    assert sequence_of(5, OPERATIONS) == sequence_of(5, OPERATIONS) != sequence_of(6, OPERATIONS)


def test_a_failing_sequence_shrinks_to_what_fails() -> None:
    sequence = sequence_of(3, OPERATIONS)
    cause = next(operation for group in sequence for operation in group if operation.name == "run")
    assert shrunk(sequence, lambda smaller: any(cause in group for group in smaller)) == ((cause,),)


@pytest.mark.nightly
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_that_is_put_back_is_found(bug: str, tmp_path: Path) -> None:
    with player(tmp_path, [f"tests.operations.bugs:{bug}"]) as playing:
        assert any(playing.failures([seed, seed + 1]) for seed in range(500, 500 + MOST_SEQUENCES, 2))
