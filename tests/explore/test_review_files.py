"""`kale review`: captions leave for other tools, and what people said there comes back."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kale_tasks.errors import BadConfig
from kale_tasks.explore import review_files
from kale_tasks.explore.votes import Side, interval, is_swapped, pairs_of, results
from kale_tasks.lake import reviews
from kale_tasks.lake.reviews import PREFERENCE, Review
from kale_tasks.lake.tables import Lake
from tests.kale import kale
from tests.quality.world import World, commit, open_world

KEY = "2026-11-01"
FORMULA = '=HYPERLINK("http://x") is a text. It has two sentences.'


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    made = open_world(tmp_path_factory.mktemp("reviewed"))
    world = World(KEY, seed=3, pairs=30)
    for step in ("ingest", "images", "dense-0123456789ab"):
        commit(made, world, step)
    commit(made, world, "fuse", lambda rows: [{**rows[0], "caption": FORMULA}, *rows[1:]])
    return made


@pytest.fixture(autouse=True)
def _environment(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KALE_WAREHOUSE", lake.settings.warehouse)
    monkeypatch.setenv("KALE_CAPTION__RECIPE", "kale")


def _fill_csv(text: str) -> str:
    rows = list(csv.DictReader(text.splitlines()))
    rows[0] |= {"value": "wrong", "edit": "As it should be."}
    rows[1] |= {"value": "right"}
    lines = [",".join(rows[0])] + [
        ",".join(f'"{str(v).replace(chr(34), chr(34) * 2)}"' for v in r.values()) for r in rows
    ]
    return "\n".join(lines)


def _fill_argilla(text: str) -> str:
    first, *others = [json.loads(line) for line in text.splitlines()]
    first["responses"] = {
        "sentence_0": [{"value": "wrong", "user_id": "eve"}],
        "sentence_1": [{"value": "right", "user_id": "eve"}],
        "edit": [{"value": "As it should be.", "user_id": "eve"}],
        "other": [{"value": "x", "user_id": "eve"}],
    }
    return json.dumps([first, *others])


def _fill_label_studio(text: str) -> str:
    tasks = json.loads(text)
    results = [
        {"from_name": "sentence_0", "type": "choices", "value": {"choices": ["wrong"]}},
        {"from_name": "sentence_1", "type": "choices", "value": {"choices": ["right"]}},
        {"from_name": "edit", "type": "textarea", "value": {"text": ["As it should be."]}},
    ]
    tasks[0]["annotations"] = [{"completed_by": {"email": "eve"}, "result": results}]
    return json.dumps(tasks)


FILLED: dict[str, Callable[[str], str]] = {
    "csv": _fill_csv, "argilla": _fill_argilla, "label-studio": _fill_label_studio,
}  # fmt: skip


@pytest.mark.parametrize("form", FILLED)
def test_judgements_come_back_and_the_same_file_twice_is_stored_once(form: str, lake: Lake, tmp_path: Path) -> None:
    out = tmp_path / "captions"
    assert kale("review", "export", "--key", KEY, "--format", form, "--out", str(out), "-n", "5").code == 0
    out.write_text(FILLED[form](out.read_text()))
    for _ in range(2):
        answer = kale("review", "import", str(out), "--format", form, "--by", "eve", "--json")
        assert (answer.code, answer.json) == (0, {"stored": 3, "changed": 0, "unknown": 0}), answer.err
    stored = [row for row in reviews.read(lake, KEY).to_pylist() if row["source"] == form]
    found = {(row["kind"], row["sentence"]): row["value"] or row["text"] for row in stored}
    assert found == {("sentence", 0): "wrong", ("sentence", 1): "right", ("edit", None): "As it should be."}
    assert {row["by"] for row in stored} == {"eve"}


def test_a_text_of_the_web_is_no_formula_in_a_spreadsheet(lake: Lake) -> None:
    text = review_files.FORMATS["csv"][0](review_files.tasks(lake, KEY, "kale", 50))
    cells = [row["text"] for row in csv.DictReader(text.splitlines())]
    assert not [cell for cell in cells if cell.startswith("=")]
    assert any(cell.startswith("'=HYPERLINK") for cell in cells)


def test_judgements_on_other_texts_and_rows_are_left_out(lake: Lake) -> None:
    task = review_files.tasks(lake, KEY, "kale", 1)[0]
    known: dict[str, Any] = {"kind": "sentence", "by": "mallory", "sentence": 0, "value": "right", "key": KEY}
    judged = [
        Review(task.uid, side=task.side, of="another text", **known),
        Review("0" * 32, side=task.side, of=task.of, **known),
        Review(task.uid, side="kale/2", of=task.of, **known),
    ]
    assert review_files.store(lake, judged).as_json() == {"stored": 0, "changed": 1, "unknown": 2}
    assert "mallory" not in reviews.read(lake, KEY)["by"].to_pylist()


@pytest.mark.parametrize("form", FILLED)
@pytest.mark.parametrize("text", ["{", "[1]", "uid,key\n1,2", '[{"data": 1, "metadata": 2, "annotations": [1]}]'])
def test_a_file_of_another_kind_is_refused_with_advice(form: str, text: str, tmp_path: Path) -> None:
    if form == "csv" and text.startswith("["):
        text = "a,b\n1,2"
    with pytest.raises(BadConfig, match="kale review export"):
        review_files.read_judgements(text, form, "eve")


def test_votes_become_preference_data_while_their_texts_are_the_same(lake: Lake, tmp_path: Path) -> None:
    rows = lake.arrow("captions", KEY).sort_by("uid").to_pylist()[5:8]
    sides = {"side": "kale/1", "against": "kale/1/dense"}
    of = [reviews.hash_of(row["caption"], row["dense_caption"]) for row in rows]
    values = ["side", "against", "tie"]
    votes = [
        Review(row["uid"], KEY, PREFERENCE, "ada", **sides, value=value, of=hash_)
        for row, value, hash_ in zip(rows, values, of, strict=True)
    ]
    reviews.add(lake, KEY, [*votes, Review(rows[0]["uid"], KEY, PREFERENCE, "bob", **sides, value="side", of="old")])
    out = tmp_path / "votes.jsonl"
    assert kale("review", "export", "--key", KEY, "--format", "preferences", "--out", str(out)).code == 0
    found = {one["uid"]: one for one in map(json.loads, out.read_text().splitlines())}
    assert found.keys() == {rows[0]["uid"], rows[1]["uid"]}
    assert found[rows[0]["uid"]]["chosen"] == rows[0]["caption"]
    assert found[rows[1]["uid"]]["chosen"] == rows[1]["dense_caption"]
    assert found[rows[1]["uid"]]["rejected_from"] == "kale/1"


def test_votes_are_counted_with_wilsons_interval() -> None:
    votes = [{"side": "a/1", "against": "b/1", "value": value} for value in ["side"] * 8 + ["against"] * 2 + ["tie"]]
    (one,) = results(votes)
    assert (one.wins, one.losses, one.ties, one.share) == (8, 2, 1, 0.8)
    low, high = one.interval
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)  # as tables of Wilson's interval say for 8 of 10
    assert interval(0, 0) == (0.0, 1.0) and interval(0, 5)[0] == 0.0 and interval(5, 5)[1] == 1.0


def test_the_order_of_two_texts_is_even_and_always_the_same() -> None:
    uids = [f"{n:032x}" for n in range(2000)]
    drawn = [is_swapped("secret", "ada", uid, ["a/1", "b/1"]) for uid in uids]
    assert drawn == [is_swapped("secret", "ada", uid, ["a/1", "b/1"]) for uid in uids]
    assert 880 < sum(drawn) < 1120
    assert drawn != [is_swapped("another", "ada", uid, ["a/1", "b/1"]) for uid in uids]


def test_every_pair_of_texts_is_offered_once() -> None:
    slices = [{"recipe": "kale", "stage": 1}, {"recipe": "kale", "stage": 2}, {"recipe": "concat", "stage": 1}]
    names = [(one.name, other.name) for one, other in pairs_of(slices)]
    assert ("kale/1", "kale/1/dense") in names and ("kale/1", "concat/1") in names and len(set(names)) == 5
    assert Side.parse("kale/1/dense") == Side("kale", 1, True)
    for wrong in ("kale", "kale/x", "kale/1/other", "/1"):
        with pytest.raises(ValueError):
            Side.parse(wrong)
