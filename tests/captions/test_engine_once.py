"""A process loads the model of a pass once, however many chunks it works on."""

import json
import time

from kale_tasks.runner.verbs import execute, plan, work
from tests.captions.conftest import Opener
from tests.captions.world import KEY, give, opened_run, pairs
from tests.engines.server import serving


def test_the_chunks_of_a_run_share_an_engine_and_leave_none_behind(opened: Opener) -> None:
    with serving() as server:
        lake, settings = opened("parts.chunk_rows=20", server=server)
        give(lake, settings, pairs(70))
        run = opened_run("dense", lake, settings)
        assert len(plan(run).chunks) == 4
        assert execute(run).rows == sum(pair.split == "stage1" for pair in pairs(70))
        assert run.meter.figures["engine_starts"] == 1
        assert run.step._engine is None  # type: ignore[attr-defined]

        give(lake, settings, pairs(40, "other"), "2026-11-02")
        run = opened_run("dense", lake, settings, "2026-11-02")
        for chunk in plan(run).chunks:
            work(run, chunk)
        assert run.meter.figures["engine_starts"] == len(plan(run).chunks) == 2
        before = run.meter.figures["engine_starts"]
        run = opened_run("dense", lake, settings.with_values({"parts": {"part_rows": 5}}), "2026-11-02")
        chunks = plan(run).chunks
        assert len(chunks) > 1 and len(work(run, *chunks)) > len(chunks)
        assert (before, run.meter.figures["engine_starts"]) == (2, 1), "the chunks of one task share a model"
    assert lake.committed("texts", KEY, run.step.slice)


def test_the_ledger_has_what_each_chunk_of_a_process_took_and_nothing_twice(opened: Opener) -> None:
    began = time.monotonic()
    with serving() as server:
        lake, settings = opened("parts.chunk_rows=20", server=server)
        give(lake, settings, pairs(70))
        execute(opened_run("dense", lake, settings))
    columns = ["verb", "seconds", "cpu_seconds", "metrics", "started_at"]
    lines = lake.arrow("runs", KEY, columns, where="step = 'dense' or verb = 'work'").to_pylist()
    work_lines = [line for line in lines if line["verb"] == "work" and "engine_starts" in line["metrics"]]
    assert len(work_lines) == 4 and len({line["started_at"] for line in work_lines}) == 4
    assert sum(json.loads(line["metrics"])["engine_starts"] for line in work_lines) == 1
    assert 0 < sum(line["seconds"] for line in work_lines) < time.monotonic() - began
