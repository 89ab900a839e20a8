"""`kale export`: files that trainers read."""

import csv
import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasets import load_dataset
from PIL import Image

from kale_tasks.captions.passes import pass_id
from kale_tasks.contract.types import Part
from kale_tasks.explore.lessons import difference
from kale_tasks.lake import reviews
from kale_tasks.lake.reviews import Review
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.selection.vectors import in_steps
from tests.kale import kale
from tests.release.conftest import World, world
from tests.release.world import Fuse, Student, image

THINGS = ("kite", "boat", "tower", "horse")
COLOURS = ("red", "blue", "green")


class Rated(Fuse):
    """Captions of things in colours, with the texts that were rated for them."""

    def made(self, run: Run, number: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found = []
        for row in super().made(run, number, rows):
            thing, colour = kind_of(row["uid"])
            rated = [
                {"pass": "dense", "n": n, "text": f"Text {n} of {row['uid'][:6]}.", "score": score}
                for n, score in enumerate((0.2, 0.9, None, 0.4))
            ]
            candidates = json.dumps(rated if row["uid"][2] < "8" else rated[:1])
            caption = f"A {colour} {thing} near the old harbour."
            found.append({**row, "caption": caption, "candidates": candidates})
        return found


class Vectors(Fuse):
    """Near vectors for the same thing, nearly equal ones for the same colour of it."""

    name = "look-0123456789ab"
    table = "texts"
    slice: Mapping[str, Any] = {"pass": "look-0123456789ab"}  # type: ignore[misc]

    def work(self, run: Run, chunk: Any, numbers: Any) -> Any:
        images = run.rows("images")
        for number in numbers:
            rows = images.read(chunk.start, chunk.stop, ["uid", "key"]).to_pylist()
            made = [
                {**row, "pass": self.name, "item": "", "n": 0, "vector": vector(row["uid"]).tolist()} for row in rows
            ]
            yield Part(number, pa.Table.from_pylist(made), len(rows))


class Written(Fuse):
    """Texts of a pass of the recipe: the caption with a sentence that no source supports, or verified, without it."""

    table = "texts"

    def __init__(self, name: str, more: str) -> None:
        super().__init__()
        self.name = pass_id(load_recipe("kale"), name)
        self.slice, self._more = {"pass": self.name}, more

    def work(self, run: Run, chunk: Any, numbers: Any) -> Any:
        images = run.rows("images")
        for number in numbers:
            rows = images.read(chunk.start, chunk.stop, ["uid", "key"]).to_pylist()
            made = [{**row, "pass": self.name, "item": "", "n": 0, "text": self._text(row["uid"])} for row in rows]
            yield Part(number, pa.Table.from_pylist(made), len(rows))

    def _text(self, uid: str) -> str:
        return f"A {kind_of(uid)[0]}.{self._more if uid[3] < '4' else ''}"


def kind_of(uid: str) -> tuple[str, str]:
    chance = Random(uid)
    return chance.choice(THINGS), chance.choice(COLOURS)


def vector(uid: str) -> "np.ndarray[Any, Any]":
    thing, colour = kind_of(uid)
    made = np.zeros(12, np.float32)
    made[THINGS.index(thing)], made[4 + COLOURS.index(colour)] = 0.9, np.sqrt(1 - 0.81)
    return in_steps(made[None])[0]


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> World:
    made = world("folder", tmp_path_factory.mktemp("lessons"), request, "parts.part_rows=120", "parts.chunk_rows=120")
    made.fill("a", rows=60)
    written = [Written("fused", " It was made by Zorgax."), Written("caption", "")]
    for step in (Rated(), Student(), Vectors(), *written):
        execute(Run(step, made.lake, made.settings, "a", again="request"))
    return made


def exported(it: World, kind: str, out: Path) -> list[dict[str, Any]]:
    answer = kale("export", kind, "--key", "a", "--out", str(out), "--json", sets=it.sets)
    assert answer.code == 0, answer.err
    rows: list[dict[str, Any]] = (
        json.loads(out.read_text())
        if out.suffix == ".json"
        else [json.loads(row) for row in out.read_text().splitlines()]
    )
    assert answer.json["rows"] == len(rows)
    return rows


def of_source(it: World, source: str, folder: Path) -> list[dict[str, Any]]:
    return [row for row in exported(it, "dpo", folder / "pairs.jsonl") if row["source"] == source]


def captions(it: World) -> dict[str, str]:
    return {row["uid"]: row["caption"] for row in it.lake.arrow("captions", "a").to_pylist()}


def test_conversations_are_those_of_trl_with_the_image_beside(it: World, tmp_path: Path) -> None:
    rows = exported(it, "sft", tmp_path / "lessons.jsonl")
    assert {row["id"]: row["messages"][1]["content"][0]["text"] for row in rows} == captions(it)
    for row in rows:
        assert [message["role"] for message in row["messages"]] == ["user", "assistant"]
        assert [part["type"] for part in row["messages"][0]["content"]] == ["image", "text"]
        data = (tmp_path / row["images"][0]).read_bytes()
        assert data == image(row["id"]) and Image.open(BytesIO(data)).size == (8, 8)
    loaded = load_dataset(
        "json", data_files=str(tmp_path / "lessons.jsonl"), cache_dir=str(tmp_path / "c"), split="train"
    )
    assert loaded["id"][:] == [row["id"] for row in rows]


def test_conversations_of_llava_mark_the_place_of_the_image(it: World, tmp_path: Path) -> None:
    rows = exported(it, "llava", tmp_path / "lessons.json")
    assert {row["id"]: row["conversations"][1]["value"] for row in rows} == captions(it)
    assert all(row["conversations"][0]["value"].startswith("<image>\n") for row in rows)
    assert all((tmp_path / row["image"]).exists() for row in rows)


def test_pairs_of_preference_are_the_best_and_the_worst_of_the_rated_texts(it: World, tmp_path: Path) -> None:
    rows = of_source(it, "candidates", tmp_path)
    stage1 = it.lake.arrow("captions", "a", where="stage = 1")["uid"].to_pylist()
    assert {row["id"] for row in rows} == {uid for uid in stage1 if uid[2] < "8"}
    for row in rows:
        assert row["chosen"][0]["content"] == f"Text 1 of {row['id'][:6]}."
        assert row["rejected"][0]["content"] == f"Text 0 of {row['id'][:6]}."
        assert row["chosen_score"] > row["rejected_score"]


def test_pairs_of_preference_are_texts_after_and_before_verification(it: World, tmp_path: Path) -> None:
    rows = of_source(it, "verification", tmp_path)
    assert rows and {row["id"] for row in rows} == {uid for uid in captions(it) if uid[3] < "4"}
    for row in rows:
        thing = f"A {kind_of(row['id'])[0]}."
        assert row["chosen"] == [{"role": "assistant", "content": thing}]
        assert row["rejected"] == [{"role": "assistant", "content": f"{thing} It was made by Zorgax."}]


def test_pairs_of_preference_are_votes_of_people_on_texts_that_are_still_the_same(it: World, tmp_path: Path) -> None:
    found = it.lake.arrow("captions", "a", where="stage = 1").to_pylist()[:4]
    for value, row in zip(("side", "against", "tie", "side"), found, strict=True):
        of = reviews.hash_of(row["caption"], row["dense_caption"]) if row is not found[3] else "changed"
        sides = {"side": "kale/1", "against": "kale/1/dense"}
        vote = Review(row["uid"], "a", reviews.PREFERENCE, "ada", **sides, value=value, of=of)
        reviews.add(it.lake, "a", [vote])
    rows = {row["id"]: [row[name][0]["content"] for name in ("chosen", "rejected")]
            for row in of_source(it, "votes", tmp_path)}  # fmt: skip
    first, second = ([row["caption"], row["dense_caption"]] for row in found[:2])
    assert rows == {found[0]["uid"]: first, found[1]["uid"]: second[::-1]}


def test_pairs_of_preference_have_the_prompt_of_the_student_and_load_as_a_data_set(it: World, tmp_path: Path) -> None:
    rows = exported(it, "dpo", tmp_path / "pairs.jsonl")
    alts = {row["uid"]: row["alt_text"] for row in it.lake.arrow("captions", "a").to_pylist()}
    for row in rows:
        system, user = row["prompt"]
        assert (system["role"], [part["type"] for part in user["content"]]) == ("system", ["image", "text"])
        assert f"<alt>{alts[row['id']]}</alt>" in user["content"][1]["text"]
        assert (tmp_path / row["images"][0]).exists()
    files, cache = str(tmp_path / "pairs.jsonl"), str(tmp_path / "c")
    assert load_dataset("json", data_files=files, cache_dir=cache, split="train")["prompt"][0][0]["role"] == "system"


def test_pairs_of_composed_retrieval_are_near_and_their_text_has_only_what_differs(it: World, tmp_path: Path) -> None:
    rows = exported(it, "composed", tmp_path / "pairs.jsonl")
    stage1 = {u for u in it.lake.arrow("captions", "a", where="stage = 1")["uid"].to_pylist()}
    assert len(rows) > len(stage1) // 2
    for row in (row for row in rows if row["reference"] in stage1):
        (thing, before), (other, after) = kind_of(row["reference"]), kind_of(row["target"])
        assert thing == other and before != after, "the same thing in another colour: near, and no copy"
        assert row["modification"] == f"{after} instead of {before}"
        assert 0.6 <= row["cosine"] < 0.98


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ("A dog runs.", "A dog runs on a beach.", "with on a beach"),
        ("A dog and a cat run.", "A dog run.", "without and a cat"),
        ("The Red Tower at night", "the red tower at dawn", "dawn instead of night"),
        ("Same words.", "same words", ""),
        ("one two", "three four", ""),
        ("", "a word", ""),
    ],
)
def test_a_difference_names_what_comes_and_what_goes(before: str, after: str, text: str) -> None:
    assert difference(before, after) == text


def test_tables_are_exported_as_csv_and_lines_of_json(it: World, tmp_path: Path) -> None:
    out = tmp_path / "captions.csv"
    assert kale("export", "captions", "--key", "a", "--out", str(out), sets=it.sets).code == 0
    with out.open(encoding="utf-8", newline="") as file:
        assert {row["uid"]: row["caption"] for row in csv.DictReader(file)} == captions(it)
    rows = exported(it, "captions", tmp_path / "captions.jsonl")
    assert {row["uid"]: row["caption"] for row in rows} == captions(it)


def test_tables_are_exported_for_lance(it: World, tmp_path: Path) -> None:
    lance = pytest.importorskip("lance")
    out = tmp_path / "captions.lance"
    for _ in range(2):  # the second export takes the place of the first
        answer = kale("export", "captions", "--key", "a", "--out", str(out), sets=it.sets)
        assert answer.code == 0, answer.err
    dataset = lance.dataset(str(out))
    assert {row["uid"]: row["caption"] for row in dataset.to_table().to_pylist()} == captions(it)
    assert dataset.take([5, 2]).to_pylist() == [dataset.to_table().to_pylist()[n] for n in (5, 2)]
    assert [path.name for path in tmp_path.iterdir()] == ["captions.lance"]


def test_a_lake_without_vectors_says_which_pass_it_needs(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    it = world("folder", tmp_path, request)
    it.fill("a", rows=20)
    answer = kale("export", "composed", "--key", "a", "--out", str(tmp_path / "x.jsonl"), sets=it.sets)
    assert (answer.code, "a pass `embed`" in answer.complaint) == (2, True)
    assert not (tmp_path / "x.jsonl").exists()


def test_what_is_not_known_is_named(it: World, tmp_path: Path) -> None:
    answer = kale("export", "poems", "--key", "a", "--out", str(tmp_path / "x.jsonl"), sets=it.sets)
    assert (answer.code, "sft, llava, dpo, composed" in answer.complaint) == (2, True)
    answer = kale("export", "sft", "--key", "a", "--out", str(tmp_path / "x.csv"), sets=it.sets)
    assert (answer.code, "must end with .jsonl" in answer.complaint) == (2, True)
