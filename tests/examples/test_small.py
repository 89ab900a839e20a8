"""The small examples run: the pipeline in one file, and the recipe."""

import runpy
from pathlib import Path

import pytest

from kale_tasks.lake.tables import Lake
from kale_tasks.settings import load
from kale_tasks.world.write import write_landing
from tests.engines.server import serving
from tests.explore.conftest import scripted
from tests.kale import kale

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_smallest_pipeline_makes_captions_and_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (key,) = write_landing(tmp_path / "landing", 1, 60)
    monkeypatch.setenv("KALE_QUALITY__LIMITS__YIELD_MIN", "0")
    monkeypatch.setenv("KALE_QUALITY__LIMITS__REPEAT_FLOOR", "99")
    monkeypatch.setenv("KALE_CAPTION__ENGINE", "openai")
    main = runpy.run_path(str(EXAMPLES / "smallest/pipeline.py"))["main"]
    with serving(reply=scripted) as server:
        monkeypatch.setenv("KALE_CAPTION__ENDPOINTS__MODELS", f"{{vlm: ['{server.url}'], llm: ['{server.url}']}}")
        main(str(tmp_path / "landing"), str(tmp_path / "lake"), key)
        first = capsys.readouterr().out
        main(str(tmp_path / "landing"), str(tmp_path / "lake"), key)
    assert capsys.readouterr().out == first and "fuse: " in first
    lake = Lake(load([f"warehouse={tmp_path / 'lake'}"]).settings)
    assert lake.arrow("captions", key).num_rows > 10


def test_the_smallest_pipeline_has_at_most_forty_lines() -> None:
    assert len((EXAMPLES / "smallest/pipeline.py").read_text().splitlines()) <= 40


def test_the_recipe_has_no_problems() -> None:
    answer = kale("recipe", "lint", str(EXAMPLES / "recipe/signs.yaml"))
    assert answer.code == 0, answer.out
