"""No order of operations, however unlucky, loses, doubles, mixes or shows a row that it should not.

`KALE_SEED=7 pytest tests/operations -k sequences_of` plays the sequence of one seed again; with `KALE_SHRINK=1` it
then drops operations for as long as the sequence still fails.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

import pytest

from tests.operations import bugs
from tests.operations.bugs import NEEDED, put_in_place
from tests.operations.forks import ForkServer
from tests.operations.machine import Machine
from tests.operations.sequences import Sequence_, as_lines, operations_of, overlapping, sequence_of, shrunk
from tests.operations.source import image_server
from tests.services.postgres import Postgres
from tests.services.s3 import S3

FEW = 4  # sequences that `make test` plays
MOST_SEQUENCES = 50  # in which a bug must be found
# Without expectations on single rows, which take as long as all the rest of a tiny key.
_FAST = "tests.operations.hooks:without_expectations"
_OF_FOLDERS = ("copy", "damage", "repair", "backup", "restore")  # operations on the files of a folder


Place = Callable[[], Mapping[str, str]]  # returns the settings of a new warehouse that is no folder


class Player:
    """Plays sequences, one on each fork server at a time, and adds a line for each to the file `OPERATIONS_LOG`."""

    def __init__(self, folder: Path, port: int, servers: Sequence[ForkServer], place: Place | None) -> None:
        self._folder, self._port, self._servers, self._place = folder, port, servers, place
        self._played = 0

    def failures(self, seeds: Sequence[int], *needed: str) -> list[str]:
        """Return a text for each seed whose sequence ends with problems; `needed`: operations that each has."""
        many = len(self._servers)
        with ThreadPoolExecutor(many) as pool:
            shares = pool.map(lambda i: [self._failure(i, seed, needed) for seed in seeds[i::many]], range(many))
            return [text for share in shares for text in share if text]

    def problems(self, sequence: Sequence_, server: int = 0) -> list[str]:
        """Play one sequence in a new lake."""
        self._played += 1
        folder = self._folder / f"{server}-{self._played}"
        place = self._place() if self._place else None
        return Machine(self._servers[server], folder, self._port, place).play(sequence)

    def _failure(self, server: int, seed: int, needed: Sequence[str]) -> str:
        names = dict.fromkeys([*operations_of(seed), *needed])
        sequence = sequence_of(seed, [name for name in names if not self._place or name not in _OF_FOLDERS])
        began, spent = time.monotonic(), self._servers[server].cpu_seconds
        problems = self.problems(sequence, server)
        seconds = f"{time.monotonic() - began:.0f} s, {self._servers[server].cpu_seconds - spent:.1f} CPU s"
        _log(f"{seed}: {seconds}, {' '.join(names)}: {len(problems)} problems")
        if problems and "KALE_SHRINK" in os.environ:
            sequence = shrunk(sequence, lambda smaller: self.problems(smaller, server))
        return "\n  ".join([f"KALE_SEED={seed}", *as_lines(sequence), *problems]) if problems else ""


def _log(line: str) -> None:
    if path := os.environ.get("OPERATIONS_LOG"):
        with open(path, "a") as log:
            log.write(f"{line}\n")


@contextmanager
def player(folder: Path, patches: Sequence[str] = (), many: int = 1, place: Place | None = None) -> Iterator[Player]:
    with ExitStack() as stack:
        port = stack.enter_context(image_server())
        yield Player(folder, port, [stack.enter_context(ForkServer(patches)) for _ in range(many)], place)


def play(folder: Path, seeds: Sequence[int], patches: Sequence[str] = (), many: int = 1) -> None:
    with player(folder, patches, many) as playing:
        failures = playing.failures(seeds)
    assert not failures, "\n".join(failures)


@pytest.mark.timeout(900)
def test_sequences_of_operations(tmp_path: Path) -> None:
    play(tmp_path, [int(os.environ["KALE_SEED"])] if "KALE_SEED" in os.environ else range(FEW), [_FAST], many=2)


@pytest.mark.nightly
@pytest.mark.timeout(4 * 3600)
def test_many_sequences_of_operations(tmp_path: Path) -> None:
    last = int(os.environ.get("OPERATION_SEQUENCES", "40"))
    play(tmp_path / "checked", range(FEW, 30), many=2)
    play(tmp_path / "fast", range(30, last), [_FAST], many=2)


@pytest.mark.nightly
@pytest.mark.timeout(4 * 3600)
def test_sequences_of_operations_on_s3_with_postgresql(tmp_path: Path, s3: S3, postgres: Postgres) -> None:
    def place() -> Mapping[str, str]:
        return {
            "warehouse": f"s3://{s3.bucket()}/lake",
            "catalog": postgres.database(),
            "s3.endpoint": s3.endpoint,
            "s3.region": s3.region,
            "s3.access_key_id": s3.access_key,
            "s3.secret_access_key": s3.secret_key,
        }

    with player(tmp_path, [_FAST], place=place) as playing:
        failures = playing.failures(range(1000, 1020))
    assert not failures, "\n".join(failures)


def test_more_than_a_quarter_of_the_operations_overlap() -> None:
    shares = [overlapping(sequence_of(seed, operations_of(seed))) for seed in range(100)]
    assert sum(shares) / len(shares) > 0.25


def test_a_seed_always_makes_the_same_sequence() -> None:
    first, again, other = (sequence_of(seed, operations_of(5)) for seed in (5, 5, 6))
    assert first == again != other


def test_a_failing_sequence_shrinks_to_what_fails() -> None:
    sequence = sequence_of(3, operations_of(3))
    cause = next(operation for group in sequence for operation in group if operation.name == "run")
    assert shrunk(sequence, lambda smaller: any(cause in group for group in smaller)) == ((cause,),)


@pytest.mark.parametrize("bug", NEEDED)
def test_a_bug_still_takes_the_place_of_what_it_breaks(bug: str) -> None:
    for name in ("images.open_parts", "ingest.step", "lake.maintain", "lake.preview", "release.choice", "runner.verbs"):
        import_module(f"kale_tasks.{name}")  # once, not in each of the processes
    process = get_context("fork").Process(target=getattr(bugs, bug))
    process.start()
    process.join()
    assert process.exitcode == 0


def test_a_bug_that_would_not_be_called_or_could_not_be_is_refused() -> None:
    class Known:
        def add(self, one: int, two: int = 0, *, three: int) -> None: ...

    with pytest.raises(AttributeError):
        put_in_place(Known, "sum", lambda *_: None)
    for bug in (lambda one: None, lambda self, one: None):
        with pytest.raises(TypeError):
            put_in_place(Known, "add", bug)
    put_in_place(Known, "add", lambda self, one, three: None)


@pytest.mark.nightly
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("bug", NEEDED)
def test_a_bug_that_is_put_back_is_found(bug: str, tmp_path: Path) -> None:
    with player(tmp_path, [_FAST, f"tests.operations.bugs:{bug}"]) as playing:
        found = (seed for seed in range(500, 500 + MOST_SEQUENCES) if playing.failures([seed], *NEEDED[bug]))
        seed = next(found, None)
    assert seed is not None, f"{bug} was not found in {MOST_SEQUENCES} sequences"
    print(f"{bug} was found in sequence {seed - 499}")
