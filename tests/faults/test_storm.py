"""An S3 that is overloaded, fails, loses its answers or is slow, for every request or for a whole verb of a run."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from botocore.retries.standard import ExponentialBackoff

from kale_tasks.contract import registry as steps
from kale_tasks.contract.types import Part
from kale_tasks.runner import verbs
from tests.kale import kale
from tests.lakes import lake_of, lake_sets
from tests.services.s3 import S3
from tests.services.storm import Storm, storm_before
from tests.steps import Numbers

KEY = "2026-11-01"
ROWS = 60
TEXTS = sorted(str(v) for v in range(ROWS) if v % 7 and v % 11)
VERBS = ("plan", "work", "seal", "commit")
TRANSIENT = 4
SLOW_DOWN = tuple(f" answered 503 {why}. Try again later." for why in ("SlowDown", "Service Unavailable"))  # HEAD


class Counted(Numbers):
    """The small test step, which counts how often each part is made."""

    made: ClassVar[Counter[int]] = Counter()

    def __init__(self) -> None:
        super().__init__(ROWS)

    def _part(self, run: Any, number: int, values: range) -> Part:
        self.made[number] += 1
        return super()._part(run, number, values)


@pytest.fixture
def storm(s3: S3) -> Iterator[Storm]:
    with storm_before(s3.endpoint) as storm:
        yield storm


@pytest.fixture
def sets(storm: Storm, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The settings of an empty lake behind the storm. Pauses between tries are short, their number is as shipped."""
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0.01)
    counted = replace(steps.STEPS["ingest"], reference="tests.faults.test_storm:Counted", suite=None)
    monkeypatch.setitem(steps.STEPS, "ingest", counted)
    Counted.made.clear()
    sets = [text for text in lake_sets("s3", tmp_path, request) if not text.startswith("s3.endpoint=")]
    return [*sets, f"s3.endpoint={storm.endpoint}"]


def ingest(sets: list[str]) -> Any:
    return kale("run", "ingest", "--key", KEY, sets=sets)


def texts(sets: list[str]) -> list[str]:
    return sorted(lake_of(sets)[0].arrow("pairs", KEY)["alt_text"].to_pylist())


@pytest.mark.further
@pytest.mark.parametrize("kind", ["lost", "busy", "broken", "slow"])
def test_a_step_gets_through_when_every_third_request_suffers_first(kind: str, storm: Storm, sets: list[str]) -> None:
    storm.now = storm.every_third(kind)
    answer = ingest(sets)
    assert answer.code == 0, answer.err
    assert texts(sets) == TEXTS
    assert storm.suffered[kind] >= 20
    assert set(Counted.made.values()) == {1}


def beginning_with(verb: str, storm: Storm) -> Callable[..., Any]:
    """Wrap a verb so that the store is overloaded as soon as it begins."""
    original = getattr(verbs, verb)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        storm.now = lambda _: "busy"
        return original(*args, **kwargs)

    return wrapped


@pytest.mark.parametrize("verb", VERBS)
def test_a_storm_that_lasts_ends_a_verb_with_one_line_and_the_next_try_goes_on(
    verb: str, storm: Storm, sets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(verbs, verb, beginning_with(verb, storm))
        answer = ingest(sets)
    assert answer.code == TRANSIENT
    assert answer.complaint.startswith("kale: ") and answer.complaint.endswith(SLOW_DOWN)
    before = Counter(Counted.made)
    storm.now = lambda _: "calm"
    assert texts(sets) == []
    assert ingest(sets).code == 0
    assert texts(sets) == TEXTS
    assert sum((Counted.made & before).values()) == sum(before.values())
    assert sum(Counted.made.values()) - len(Counted.made) <= 1, "more than the part in hand was made twice"
