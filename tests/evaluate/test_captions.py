"""`kale evaluate captions` and `kale evaluate sheet` on a lake with captions."""

import csv
from pathlib import Path

import pytest

from kale_tasks.lake.tables import Lake
from kale_tasks.settings import load
from tests.distill.small import KEY, commit_captions
from tests.kale import kale


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Settings of a lake with images and captions."""
    sets = [f"warehouse={tmp_path_factory.mktemp('lake')}"]
    commit_captions(Lake(load(sets, environ={}).settings), KEY, 24)
    return sets


def test_recipes_are_judged_beside_alt_texts_and_dense_captions(sets: list[str]) -> None:
    found = kale("evaluate", "captions", "--measure", "agreement", "--measure", "BLEU", "--arena", "agreement",
                 "--rows", "20", "--json", sets=sets).json  # fmt: skip
    assert (found["images"], found["baseline"]) == (20, "dense")
    rows = {(row["measure"], row["arm"]): row for row in found["rows"]}
    assert {arm for _, arm in rows} == {"alt-text", "dense", "demo"}
    assert rows["agreement", "dense"]["mean"] > rows["agreement", "alt-text"]["mean"]
    assert rows["BLEU", "dense"]["mean"] == 1
    assert set(found["warnings"]) == {"BLEU"}
    assert len(found["arena"]) == 3


def test_images_are_read_for_measures_that_see(sets: list[str]) -> None:
    from kale_tasks.evaluate.lake_texts import side_by_side

    beside = side_by_side(Lake(load(sets, environ={}).settings), [KEY], 5, with_images=True)
    assert [item.image.size for item in beside.items] == [(120, 120)] * 5


def test_a_sheet_goes_out_and_comes_back(sets: list[str], tmp_path: Path) -> None:
    out = tmp_path / "sheet.csv"
    assert kale("evaluate", "sheet", "export", str(out), "--rows", "6", sets=sets).code == 0
    rows = list(csv.DictReader(out.open()))
    assert len({row["uid"] for row in rows}) == 6
    for reader in ("ann", "bo"):
        with (tmp_path / f"{reader}.csv").open("w") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(
                {**row, "verdict": "right" if int(row["sentence"]) else "wrong", "reader": reader} for row in rows
            )
    found = kale("evaluate", "sheet", "import", *(str(tmp_path / f"{r}.csv") for r in ("ann", "bo")), "--json").json
    assert (found["readers"], found["captions"], found["kappa"]) == (2, 6, 1.0)
    answer = kale("evaluate", "sheet", "import", str(out))
    assert (answer.code, "verdict" in answer.complaint) == (3, True)


def test_without_captions_the_next_command_is_named(tmp_path: Path) -> None:
    Lake(load([f"warehouse={tmp_path}"], environ={}).settings)
    answer = kale("evaluate", "captions", sets=[f"warehouse={tmp_path}"])
    assert (answer.code, "kale run captions" in answer.complaint) == (5, True)
