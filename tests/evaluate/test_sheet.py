"""The sheet for people goes out, comes back from several readers, and says no more than they did."""

import csv
import io
from random import Random

import pytest

from kale_tasks.errors import BadData
from kale_tasks.evaluate.sheet import KEYS, draw, read, summarize, write
from kale_tasks.world.describe import fused
from kale_tasks.world.scene import make_facts, make_scene

RNG = Random(12)
CAPTIONS = [
    {"uid": f"{number:032x}", "recipe": recipe, "caption": fused(make_scene(RNG), make_facts(RNG)), "alt_text": "=1+1",
     "dense_caption": "A \"quoted\", text\nof two lines.", "url": "https://example.org/a.jpg"}
    for number in range(300)
    for recipe in ("kale", "dense-only")
]  # fmt: skip


def filled(sheet: str, reader: str, error: float, seed: int) -> str:
    """The sheet as a reader returns it who sees planted verdicts and errs now and then."""
    rng, out = Random(seed), io.StringIO()
    rows = list(csv.DictReader(io.StringIO(sheet)))
    table = csv.DictWriter(out, list(rows[0]))
    table.writeheader()
    for row in rows:
        wrong = Random(f"{row['uid']} {row['recipe']} {row['sentence']}").random() < {"kale": 0.2}.get(
            row["recipe"], 0.05
        )
        seen = wrong if rng.random() >= error else not wrong
        table.writerow({**row, "verdict": "Wrong" if seen else "right", "reader": reader})
    return out.getvalue()


def test_three_hundred_rows_of_the_same_images() -> None:
    drawn = draw(CAPTIONS, 300)
    assert [sum(row["recipe"] == name for row in drawn) for name in ("dense-only", "kale")] == [150, 150]
    assert len({row["uid"] for row in drawn}) == 150, "recipes are compared on the same images"
    assert draw(CAPTIONS, 300) == drawn != draw(CAPTIONS, 300, seed=1)


def test_a_sheet_has_the_shared_columns_first_and_no_formula() -> None:
    sheet = write(draw(CAPTIONS, 20))
    rows = list(csv.DictReader(io.StringIO(sheet)))
    assert tuple(list(rows[0])[:5]) == KEYS == ("uid", "recipe", "sentence", "verdict", "reader")
    assert {row["sentence"] for row in rows} > {"0", "1"}
    assert {row["alt_text"] for row in rows} == {"'=1+1"}
    assert rows[0]["dense_caption"] == CAPTIONS[0]["dense_caption"]


def test_planted_verdicts_come_back_with_kappa_and_intervals() -> None:
    sheet = write(draw(CAPTIONS, 300))
    readers = [("ann", 0.05, 1), ("bo", 0.05, 2), ("cy", 0.05, 3)]
    verdicts = [row for reader, error, seed in readers for row in read(filled(sheet, reader, error, seed))]
    found = summarize(verdicts)
    assert (found["readers"], found["captions"]) == (3, 300)
    assert found["judged twice"] == found["sentences"]
    low, high = found["kappa interval"]
    assert low < found["kappa"] < high
    assert low > 0.3 and high < 0.75, "readers who err once in twenty, on few wrong sentences"
    shares = {row["recipe"]: row for row in found["recipes"]}
    assert shares["kale"]["low"] > shares["dense-only"]["high"]
    assert shares["kale"]["low"] < 0.95 * 0.2 + 0.05 * 0.8 < shares["kale"]["high"]


def test_one_reader_gives_no_kappa() -> None:
    found = summarize(read(filled(write(draw(CAPTIONS, 10)), "ann", 0.0, 1)))
    assert (found["kappa"], found["kappa interval"], found["judged twice"]) == (None, None, 0)


def test_the_last_verdict_of_a_reader_counts() -> None:
    place = {"uid": "a", "recipe": "kale", "sentence": "0", "reader": "ann"}
    found = summarize([{**place, "verdict": "wrong"}, {**place, "verdict": "right"}])
    assert (found["sentences"], found["recipes"][0]["wrong"]) == (1, 0.0)


def test_empty_verdicts_are_left_out_and_other_columns_do_not_matter() -> None:
    assert read("\ufeffreader,uid,note,recipe,sentence,verdict\nann,a,x,kale,0,\nann,a,,kale,1,RIGHT\n") == [
        {"uid": "a", "recipe": "kale", "sentence": "1", "verdict": "right", "reader": "ann"}
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("uid,recipe,sentence,verdict\n", "reader"),
        ("uid,recipe,sentence,verdict,reader\na,kale,0,fine,ann\n", "a.csv:2.*fine"),
        ("uid,recipe,sentence,verdict,reader\na,kale,0,,\na,kale,1,wrong,\n", "a.csv:3.*reader"),
    ],
)
def test_a_sheet_that_is_wrong_names_the_line(text: str, says: str) -> None:
    with pytest.raises(BadData, match=says):
        read(text, "a.csv")


def test_nothing_judged_is_said() -> None:
    with pytest.raises(BadData, match="verdict"):
        summarize([])
