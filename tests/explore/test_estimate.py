"""`kale estimate`: rows, hours, dollars and bytes before anything runs, with the source of each rate."""

from pathlib import Path

import pytest
import yaml

from kale_tasks.explore import estimate
from tests.explore.conftest import KEY
from tests.kale import kale
from tests.lakes import lake_of

ROOT = Path(__file__).parents[2]
NOWHERE = ["warehouse=/nowhere/lake", "profile=laptop"]


def lines_of(*words: str, sets: list[str]) -> dict[str, dict[str, float | str]]:
    answer = kale("estimate", *words, "--json", sets=sets)
    assert answer.code == 0, answer.err
    return {line["step"]: line for line in answer.json["lines"]} | {"total": answer.json["total"]}


def test_gpu_hours_are_rows_by_rate() -> None:
    rates = ["--rate", "kept_share=0.5", "--rate", "image_share=1", "--rate", "dense=100", "--rate", "fused=50"]
    found = lines_of("--rows", "2000000", "--price", "3", "--gpus", "4", *rates, sets=NOWHERE)
    first = 2_000_000 * 0.5 * 0.46
    assert found["dense"]["rows"] == round(first)
    assert found["dense"]["GPU-hours"] == pytest.approx(first / 100 / 3600, abs=0.01)
    assert found["fused"]["GPU-hours"] == pytest.approx(first / 50 / 3600, abs=0.01)
    assert found["total"]["dollars"] == pytest.approx(3 * found["total"]["GPU-hours"], abs=0.05)
    assert found["total"]["days"] == pytest.approx(float(found["total"]["GPU-hours"]) / 4 / 24, rel=0.5)
    assert found["captions"]["rows"] == round(2_000_000 * 0.5 * 0.99)


def test_what_was_assumed_is_said() -> None:
    answer = kale("estimate", "--rows", "1000", sets=NOWHERE)
    assert "ask_image = 30: assumed" in answer.out and "bench/dedup.md" in answer.out
    assert "dense (" not in answer.out or "option" not in answer.out


def test_landing_rows_are_counted_and_rates_measured_in_the_lake_come_first(captioned: list[str]) -> None:
    lake, settings = lake_of(captioned)
    assert estimate.landing_rows(settings, KEY) == 60
    measured = estimate.measured_rates(lake, settings)
    assert {"dense", "fused", "kept_share", "image_share"} <= set(measured) and 0 < measured["image_share"] <= 1
    found = lines_of("--key", KEY, sets=captioned)
    assert "measured in this lake" in str(found["dense"]["rate"]) and found["ingest"]["rows"] == 60


def test_candidates_and_rounds_multiply_the_requests(tmp_path: Path) -> None:
    recipe = yaml.safe_load((ROOT / "config/recipes/dense-only.yaml").read_text())
    recipe["passes"][0] |= {"n": 3, "sampling": {"max_tokens": 9, "temperature": 1}}
    path = tmp_path / "three.yaml"
    path.write_text(yaml.safe_dump(recipe))
    one, three = (lines_of("--rows", "1000", "--recipe", r, sets=NOWHERE) for r in ("dense-only", str(path)))
    assert three["dense"]["rows"] == 3 * float(one["dense"]["rows"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "--rows 1000000"),
        (["--rows", "5", "--rate", "dens=3"], "no rate 'dens'"),
        (["--rows", "5", "--rate", "dense=fast"], "--rate dense=45"),
        (["--key", "2026-11-09"], "no landing files"),
    ],
)
def test_mistakes_are_said_in_a_line(words: list[str], says: str) -> None:
    answer = kale("estimate", *words, sets=NOWHERE)
    assert (answer.code > 0, says in answer.err) == (True, True), answer.err
