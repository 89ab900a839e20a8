"""A process loads the model of a pass once, however many chunks it works on."""

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
    assert lake.committed("texts", KEY, run.step.slice)
