"""A key that is made again asks models only for what has changed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from kale_tasks.captions.steps import find_spec
from kale_tasks.lake import verdicts
from kale_tasks.lake.maintain import expire, grace_of, orphans
from kale_tasks.lake.tables import Lake
from kale_tasks.progress import Silent
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute, plan, work
from kale_tasks.takedown.sweep import rewritten_steps, take_down
from tests.captions.conftest import Opener
from tests.captions.test_passes import DENSE, Lab, recipe
from tests.captions.test_step import _sets, dense_of, rows
from tests.captions.world import KEY, give, give_dense, opened_run, pairs, run_captions, run_step, with_alt
from tests.engines.server import Server, completion, prompt_of, serving

GIVEN = [with_alt(pair, f"Kaldor Tower {pair.uid[:4]}") for pair in pairs(30) if pair.split == "stage1"]


def answer(body: dict[str, Any]) -> web.Response:
    """A captioner whose descriptions differ, and a fuser that repeats them."""
    number = f"{body['seed'] % 9973} windows"
    return completion(dense_of(body) or f"A small red tower with {number} is at the left. It is bright outside.")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(reply=answer) as found:
        yield found


def captioned(lake: Lake, settings: Any, server: Server) -> tuple[int, int]:
    """Run dense and fuse; how many requests each of them made."""
    before = len(server.bodies)
    run_step("dense", lake, settings)
    dense = len(server.bodies)
    run_captions(lake, settings, after="dense")
    return dense - before, len(server.bodies) - dense


def test_only_what_depends_on_a_change_is_asked_for(opened: Opener, tmp_path: Path, server: Server) -> None:
    lake, settings = opened(server=server)
    give(lake, settings, [replace(GIVEN[0], image=b""), *GIVEN[1:]])
    assert captioned(lake, settings, server) == (len(GIVEN) - 1, len(GIVEN) - 1)
    give(lake, settings, GIVEN)
    assert captioned(lake, settings, server) == (1, 1), "an image was healed"
    give(lake, settings, GIVEN[1:])
    assert captioned(lake, settings, server) == (0, 0), "a row is gone"
    changed = [with_alt(GIVEN[1], "Atlantis Bridge at night"), *GIVEN[2:-1], replace(GIVEN[-1], image=GIVEN[0].image)]
    give(lake, settings, changed)
    assert captioned(lake, settings, server) == (1, 1), (
        "an image with the same description and an alt-text were changed"
    )
    made, (other, its_settings) = rows(lake, "captions", 1), opened(f"warehouse={tmp_path / 'quiet'}", server=server)
    give(other, its_settings, changed)
    captioned(other, its_settings, server)
    assert made == rows(other, "captions", 1)


def test_a_person_who_asks_again_gets_new_texts_and_a_repair_gets_what_is_left(opened: Opener, server: Server) -> None:
    lake, settings = opened(server=server)
    give(lake, settings, GIVEN)
    give_dense(lake, settings, GIVEN)
    run_captions(lake, settings, after="dense")
    asked = len(server.bodies)
    execute(opened_run("fused", lake, settings, again="again-1"))
    assert len(server.bodies) == 2 * asked
    execute(opened_run("fused", lake, settings, again="repair-1"))
    assert len(server.bodies) == 2 * asked
    lost = lake.files("texts", KEY, find_spec("fused", settings).slice)[0]
    lake.storage.put(lost.path, b"no parquet any more")
    execute(opened_run("fused", lake, settings, again="repair-2"))
    assert len(server.bodies) == 2 * asked + lost.rows


def test_another_sampling_another_model_and_a_failed_check_carry_nothing(
    opened: Opener, tmp_path: Path, server: Server
) -> None:
    lake, settings = opened(server=server)
    give(lake, settings, GIVEN)
    give_dense(lake, settings, GIVEN)
    run_captions(lake, settings, after="dense")
    asked = len(server.bodies)
    hotter = tmp_path / "hotter.yaml"
    demo = yaml.safe_load(Path("config/recipes/demo.yaml").read_text())
    demo["passes"][1].setdefault("sampling", {"max_tokens": 60})["temperature"] = 0.3
    hotter.write_text(yaml.safe_dump(demo))
    run_captions(*opened(f"caption.recipe={hotter}", server=server), after="dense")
    assert len(server.bodies) == 2 * asked
    dense = find_spec("dense", settings).load()
    run_step("dense", lake, settings)
    give(lake, settings, GIVEN[:-1])
    assert Run(dense, lake, settings, KEY).former is None  # it was never checked
    made = lake.committed("texts", KEY, dense.slice)
    assert made
    verdicts.accept(lake.storage, made.seal_id, "looked at")
    assert Run(dense, lake, settings, KEY).former is not None


def test_rows_taken_down_are_not_carried_over(opened: Opener, server: Server) -> None:
    unlisted = ["ingest.lists.evaluation=null", "images.evaluation=null"]
    lake, settings = opened(*unlisted, server=server)
    give(lake, settings, GIVEN)
    give_dense(lake, settings, GIVEN)
    run_captions(lake, settings, after="dense")
    asked = len(server.bodies)
    give_dense(lake, settings, GIVEN[:-1])
    run = opened_run("fused", lake, settings)
    made = plan(run)
    ours = [step for step in rewritten_steps(lake) if step.table in ("texts", "captions")]
    take_down(lake, settings, {"uid": [GIVEN[0].uid]}, ours, Silent())  # the images are in no real tar here
    for chunk in made.chunks:
        work(run, chunk)
    run_captions(lake, settings, after="dense")
    assert len(server.bodies) == asked
    assert [row["uid"] for row in rows(lake, "captions", 1)] == [pair.uid for pair in GIVEN[1:-1]]


def test_maintenance_keeps_the_rows_that_a_plan_carries_over(opened: Opener, server: Server) -> None:
    lake, settings = opened("maintenance.grace_hours=0", "maintenance.run_days=0", server=server)
    give(lake, settings, GIVEN)
    give_dense(lake, settings, GIVEN)
    run_captions(lake, settings, after="dense")
    give_dense(lake, settings, GIVEN[:-1])
    former = opened_run("fused", lake, settings).former
    made = plan(opened_run("fused", lake, settings))
    assert former and made.former and [file.path for file in made.former.files] == [f.path for f in former.files]
    execute(opened_run("fused", lake, settings, again="other"))
    expire(lake, timedelta(0))
    unused = {entry.path for entry in orphans(lake, grace_of(settings))}
    assert not unused & {file.path for file in former.files}


@pytest.mark.nightly
def test_a_killed_refresh_goes_on_and_asks_only_for_what_has_changed(opened: Opener) -> None:
    changed = [with_alt(pair, f"Atlantis Bridge {i}") if i % 3 == 0 else pair for i, pair in enumerate(GIVEN)]
    with serving(0.05, answer) as slow:
        lake, settings = opened(server=slow)
        give(lake, settings, GIVEN)
        give_dense(lake, settings, GIVEN)
        run_captions(lake, settings, after="dense")
        give(lake, settings, changed)
        asked = len(slow.bodies)
        line = [sys.executable, "-m", "tests.captions.fuse_once", *_sets(settings, slow)]
        process = subprocess.Popen(line, cwd=Path.cwd())
        while len(slow.bodies) < asked + 3:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        run_captions(lake, settings, after="dense")
        new = [prompt_of(body) for body in slow.bodies[asked:]]
    assert all("Atlantis" in text for text in new)
    made = {row["uid"]: row["caption"] == row["dense_caption"] and row["alt_text"] for row in rows(lake, "captions", 1)}
    assert made == {pair.uid: pair.alt.text for pair in changed}


def test_passes_of_recipes_carry_texts_over(opened: Opener, tmp_path: Path) -> None:
    path = recipe(tmp_path, "two", {**DENSE, "n": 2, "sampling": {"max_tokens": 60, "temperature": 0.7}})
    with serving(reply=answer) as server:
        lab = Lab(opened, server, [replace(GIVEN[0], image=b""), *GIVEN[1:]])
        lab.run(path)
        give(lab.lake, lab.settings, GIVEN)
        before = len(server.bodies)
        lab.run(path)
        assert len(server.bodies) == before + 2
        assert lab.lake.arrow("texts", KEY).num_rows == 2 * len(GIVEN)
