"""`kale evaluate` compares captions with the truth of a sample world."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kale_tasks.contract.step import Input, Step
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import Settings, load
from kale_tasks.world.truth import keys_with_truth
from kale_tasks.world.world import key_name
from kale_tasks.world.write import WorldSample, write_sample
from tests.kale import kale

KEY = key_name(0)
Row = Mapping[str, Any]


class WrittenCaptions(Step):
    """A step that writes the caption of every image with a function of its truth."""

    name, table = "fuse", "captions"
    slice: Mapping[str, Any] = {"recipe": "demo", "stage": 1}

    def __init__(self, truth: Sequence[Row], write: Callable[[Row], str]) -> None:
        self.truth, self.write = truth, write

    def config(self, settings: Settings) -> Mapping[str, Any]:
        return {}

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        return {}

    def chunks(self, run: Run) -> Sequence[Chunk]:
        return [Chunk(index=0, first_part=0, parts=1)]

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part]:
        known = {"key": run.key, "recipe": "demo", "stage": 1, "alt_text": "a photo"}
        rows = [{"uid": r["uid"], **known, "dense_caption": r["dense"], "caption": self.write(r)} for r in self.truth]
        yield Part(0, pa.Table.from_pylist(sorted(rows, key=lambda r: str(r["uid"]))), rows_in=len(rows))


@pytest.fixture
def sets(tmp_path: Path) -> list[str]:
    """Settings of a small world and a lake."""
    list(write_sample(WorldSample(pairs=40, keys=1), tmp_path / "landing"))
    return [f"landing={tmp_path / 'landing'}", f"warehouse={tmp_path / 'lake'}"]


def figures(sets: list[str], write: Callable[[Row], str]) -> dict[str, dict[str, Any]]:
    """Return the figures of `kale evaluate` for captions written by a function of the truth."""
    of = load(sets, environ={}).settings
    rows = {r["uid"]: r for r in pq.read_table(Path(of.landing) / "_truth" / f"{KEY}.parquet").to_pylist()}
    execute(Run(WrittenCaptions(list(rows.values()), write), Lake(of), of, KEY))
    return {row["text"]: row for row in kale("evaluate", "--json", sets=sets).json}


def perfect_caption(row: Row) -> str:
    return ". ".join([row["dense"].rstrip("."), *(row[name] for name in row["alt_facts"])]) + "."


def test_a_caption_with_everything_that_is_true_scores_full_marks(sets: list[str]) -> None:
    found = figures(sets, perfect_caption)
    full = {"facts of the alt-text carried": 1.0, "visible details right": 1.0, "facts invented each": 0.0}
    assert found["KALE, stage 1"].items() >= full.items()
    assert found["dense caption"]["facts of the alt-text carried"] < 0.1
    assert found["alt-text"]["visible details right"] < 0.1
    assert found["KALE, stage 2"]["texts"] == 0


def test_invented_and_missing_facts_are_counted(sets: list[str]) -> None:
    found = figures(sets, lambda row: "A picture taken by Zyxwelia Quorth in 1603.")["KALE, stage 1"]
    assert found["facts invented each"] >= 2
    assert found["facts of the alt-text carried"] == found["visible details right"] == 0.0


def test_a_landing_without_a_truth_is_an_error_that_names_the_alternative(sets: list[str], tmp_path: Path) -> None:
    figures(sets, perfect_caption)
    (tmp_path / "landing" / "_truth" / f"{KEY}.parquet").unlink()
    answer = kale("evaluate", sets=sets)
    assert answer.code == 2
    assert "truth" in answer.complaint and f"kale report --key {KEY}" in answer.complaint


def test_keys_without_a_truth_are_left_out_unless_none_has_one(tmp_path: Path) -> None:
    (tmp_path / "_truth").mkdir()
    (tmp_path / "_truth" / "2026-11-01.parquet").touch()
    landing = FolderStorage(str(tmp_path))
    assert keys_with_truth(landing, ["2026-11-01", "mine"]) == ["2026-11-01"]
    assert keys_with_truth(landing, ["mine"]) == ["mine"]  # scoring then says that its truth is not known
