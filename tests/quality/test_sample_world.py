"""Clean seeds of the sample world raise no alarm: their pairs are ingested, their images adopted, captions are true."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import pyarrow.parquet as pq
import pytest

from kale_tasks.contract.registry import find, step_spec
from kale_tasks.contract.step import Step
from kale_tasks.lake.keys import MARKER
from kale_tasks.lake.tables import Lake
from kale_tasks.quality.check import check_sealed
from kale_tasks.quality.verdict import CheckResult
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.text.grounding import ground
from kale_tasks.world.world import key_name
from kale_tasks.world.write import WorldSample, write_sample
from tests.quality.world import DENSE, STUDENT, Given, open_world

KEYS, PAIRS = 5, 300
SEEDS = [pytest.param(seed, marks=pytest.mark.nightly) for seed in range(20)]
OF_SAMPLES = {"student_carried_drift", "student_attributes_drift", "student_likeness_drift"}  # here is no teacher
WRITTEN = {"engine": "truth", "prompt_hash": "abc", "tokens_in": 9, "tokens_out": 30, "finish_reason": "stop"}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_clean_seed_raises_no_alarm(seed: int, tmp_path: Path) -> None:
    list(write_sample(WorldSample(PAIRS * KEYS, KEYS, seed=seed), tmp_path / "landing"))
    lake = open_world(tmp_path, **{"quality.drift.least_rows": 20})
    results = [result for number in range(KEYS) for result in _checked(lake, tmp_path, key_name(number))]
    assert len(results) == KEYS * 5
    alarms = [(r.key, line) for r in results if r.status != "passed" for line in r.lines[1:]]
    assert alarms == []
    for last in results[-5:]:
        skipped = [c.name for c in last.checks if c.status == "skipped" and c.name not in OF_SAMPLES]
        assert len(skipped) <= 1, f"{last.step} looks at drift, but not at {skipped}"


def _checked(lake: Lake, folder: Path, key: str) -> Iterator[CheckResult]:
    (folder / "landing" / key / MARKER).touch()
    for step in ("ingest", "images"):
        yield from _run(lake, find(step), key)
    truth = {row["uid"]: row for row in pq.read_table(folder / f"landing/_truth/{key}.parquet").to_pylist()}
    pairs = {row["uid"]: row for row in lake.arrow("pairs", key).to_pylist()}
    came = [row for row in lake.arrow("images", key).to_pylist() if row["status"] == "ok"]
    stages = [[row for row in came if row["split"] == f"stage{stage}"] for stage in (1, 2)]
    dense = [_text(row, truth[row["uid"]]["dense"]) for row in stages[0]]
    yield from _run(lake, _given(lake, key, DENSE, [("images", {})], dense), key)
    for stage, step in ((1, "fuse"), (2, "student")):
        rows = [_caption(pairs[row["uid"]], truth[row["uid"]], stage) for row in stages[stage - 1]]
        inputs: list[tuple[str, Mapping[str, Any]]] = [("images", {}), *([("pairs", {})] if stage == 1 else [])]
        yield from _run(lake, _given(lake, key, step, inputs, rows), key)


def _run(lake: Lake, step: Step, key: str) -> Iterator[CheckResult]:
    results: list[CheckResult] = []
    step.suite = step_spec(step.name).suite
    check = partial(check_sealed, lake, lake.settings)
    execute(Run(step, lake, lake.settings, key), lambda sealed: results.append(check(sealed)))
    yield from results


def _given(lake: Lake, key: str, step: str, inputs: Sequence[Any], rows: Sequence[dict[str, Any]]) -> Step:
    read = lake.committed("images", key)
    assert read
    return cast("Step", Given(step, sorted(rows, key=lambda row: str(row["uid"])), inputs, read.rows - len(rows)))


def _text(image: Mapping[str, Any], text: str) -> dict[str, Any]:
    known = {"uid": image["uid"], "key": image["key"], "pass": DENSE, "item": "", "n": 0}
    return {**known, "text": text, "models": ["truth@1"], **WRITTEN}


def _caption(pair: Mapping[str, Any], truth: Mapping[str, Any], stage: int) -> dict[str, Any]:
    found = ground(truth["caption"], truth["dense"], pair["alt_text"])
    known = {name: pair[name] for name in ("uid", "key", "url", "sha256", "alt_text")}
    facts = {"facts": len(found.facts), "facts_from_alt": len(found.from_alt), "facts_invented": len(found.invented)}
    return {
        **known, **WRITTEN, **facts, "recipe": "kale", "stage": stage, "caption": truth["caption"],
        "dense_caption": truth["dense"] if stage == 1 else None, "facts_from_dense": len(found.from_dense),
        "models": ["truth@1"] if stage == 1 else [f"student@{STUDENT}"],
    }  # fmt: skip
