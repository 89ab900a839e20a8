"""A key without pairs has no images either, and is committed like any other."""

from pathlib import Path

from kale_tasks.images.step import Images
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from tests.quality.world import World, commit, open_world


def test_a_key_without_pairs_is_committed(tmp_path: Path) -> None:
    lake: Lake = open_world(tmp_path, **{"images.evaluation": "null"})
    commit(lake, World("k", pairs=3), "ingest", lambda _: [])
    done = execute(Run(Images(), lake, lake.settings, "k"))
    assert (done.rows_in, done.rows) == (0, 0)
