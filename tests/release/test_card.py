"""The card and the pages beside it."""

import json
from pathlib import Path
from random import Random
from typing import Any

import mlcroissant
import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kale_tasks.lake.verdicts import acceptance_path, verdict_path
from kale_tasks.quality.stored import report_path
from kale_tasks.release.built import Built, read
from kale_tasks.release.card import notes, pages
from kale_tasks.release.stats import _words, add
from tests.kale import kale
from tests.release.conftest import World, world

BEGIN, END = "<!-- begin of your notes: kept from release to release -->", "<!-- end of your notes -->"


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> World:
    made = world(
        "folder", tmp_path_factory.mktemp("card"), request, "publish.formats=[chat]", "publish.citation=@misc{k}"
    )
    made.fill("a")
    made.release("a")
    return made


@pytest.fixture(scope="module")
def built(it: World) -> Built:
    return read(it.lake, "a")


def test_the_metadata_lists_configs_and_rows(it: World, built: Built) -> None:
    front = yaml.safe_load(pages(built, it.settings.publish)["README.md"].decode().split("---\n")[1])
    assert front["license"] == "apache-2.0" and front["size_categories"] == ["n<1K"]
    assert [c["config_name"] for c in front["configs"]] == ["full", "core", "chat"]
    info = {i["config_name"]: i["splits"][0]["num_examples"] for i in front["dataset_info"]}
    assert info == {name: built.rows(name) for name in ("full", "core", "chat")}
    assert info["full"] == 120 > info["core"] > 0


def test_the_card_names_models_figures_contact_and_citation(it: World, built: Built) -> None:
    card = pages(built, it.settings.publish)["README.md"].decode()
    for text in (
        "`fuser@1`",
        "`student@1`",
        it.settings.publish.contact,
        "@misc{k}",
        built.version,
        "240",
        "were not checked",
    ):
        assert text in card


def test_the_card_shows_the_results_of_the_checks(it: World) -> None:
    committed = it.lake.committed("captions", "a", {"recipe": "kale", "stage": 1})
    assert committed
    verdict = {"status": "failed", "failed": ["captions_are_short"], "warnings": ["captions_are_long"]}
    paths = verdict_path(committed.seal_id), acceptance_path(committed.seal_id)
    for path, content in zip(paths, (verdict, {"why": "a short day", "at": "2026-11-01"}), strict=True):
        it.lake.storage.put(path, json.dumps(content).encode())
    card = pages(read(it.lake, "a"), it.settings.publish)["README.md"].decode()
    for path in paths:
        it.lake.storage.delete(path)
    assert "| a/recipe=kale/stage=1 | accepted: a short day | captions_are_short | captions_are_long |" in card
    assert "| a/recipe=kale/stage=2 | not checked |  |  |" in card


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r")).map(str.strip))
def test_notes_are_found_in_a_card(text: str) -> None:
    if END not in text and BEGIN not in text:
        assert notes(f"# Card\n{BEGIN}\n{text}\n{END}\nrest") == text


def test_a_new_card_keeps_the_notes(it: World, built: Built) -> None:
    old = f"old words {BEGIN}\nWe thank **everyone**.\n{END} more old words"
    new = pages(built, it.settings.publish, old)["README.md"].decode()
    assert notes(new) == "We thank **everyone**." and "old words" not in new


def test_croissant_describes_files_and_columns_that_exist(it: World, built: Built) -> None:
    known: dict[str, Any] = json.loads(pages(built, it.settings.publish)["croissant.json"])
    objects = {d["@id"]: d for d in known["distribution"]}
    for file in built.files:
        assert objects[file.name]["sha256"] == file.sha256
    for records in known["recordSet"]:
        for field in records["field"]:
            assert field["source"]["fileSet"]["@id"] in objects
            assert field["description"]
    globs = objects["core-files"]["includes"]
    assert {f.name for f in built.files if any(Path(f.name).match(g) for g in globs)} == {
        f.name for f in built.of("core")
    }


def test_pages_of_a_release_are_reproducible(it: World, built: Built) -> None:
    assert pages(built, it.settings.publish) == pages(read(it.lake, "a"), it.settings.publish)


@given(st.lists(st.dictionaries(st.sampled_from("ab"), st.dictionaries(st.sampled_from("xyz"), st.integers(0, 9)))))
def test_counts_of_files_add_up_in_any_order(counts: list[dict[str, dict[str, int]]]) -> None:
    assert add(counts) == add(reversed(counts))
    total = sum(v for each in counts for group in each.values() for v in group.values())
    assert sum(v for group in add(counts).values() for v in group.values()) == total


def test_the_review_shows_the_change_the_figures_and_the_card(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    it = world("folder", tmp_path, request, f"publish.target={tmp_path / 'published'}")
    it.fill("a")
    first = it.release("a")
    assert "would be the first release" in kale("release", "review", "--key", "a", sets=it.sets).out
    it.publish("a")
    it.fill("b", rows=60)
    second = it.release("b")
    shown = kale("release", "review", "--key", "b", "--json", sets=it.sets).json
    assert f"`{second}` would replace `{first}`" in shown["text"]
    assert "| 60 | 0 | 0 | 120 |" in shown["text"]
    assert "| facts in 100 captions | 200.0 | 200.0 |" in shown["text"]
    assert "## How it was made" in shown["text"] and "dataset_info" not in shown["text"]
    assert it.lake.storage.exists(report_path(shown["report"], "html"))


def test_croissant_loads_the_rows_of_every_config(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    sets = [f"publish.target={tmp_path / 'published'}", "publish.formats=[mix,sentences,chat,images,webdataset]"]
    it = world("folder", tmp_path, request, *sets)
    it.fill("a", rows=20)
    it.release("a")
    dataset = mlcroissant.Dataset(jsonld=f"{it.publish('a')}/croissant.json")
    first = {records.uuid: next(iter(dataset.records(records.uuid))) for records in dataset.metadata.record_sets}
    assert list(first) == ["full", "core", "mix", "sentences", "chat", "images"]
    assert isinstance(first["images"]["images/image"], Image.Image)
    assert [turn["chat/messages/role"] for turn in first["chat"]["chat/messages"]] == [b"user", b"assistant"]
    assert len(first["sentences"]["sentences/sentences"]) == 2


@pytest.mark.parametrize("seed", range(5))
def test_words_are_counted_in_slices_with_nulls_and_empty_texts(seed: int) -> None:
    chance = Random(seed)
    texts = [chance.choice([None, "", " ", "één", "a b", "x " * chance.randrange(40)]) for _ in range(200)]
    column = pa.chunked_array([texts[:70], texts[70:]], pa.string()).slice(chance.randrange(30), chance.randrange(150))
    counted = [text.count(" ") + 1 for text in column.to_pylist() if text]
    found = _words(column)
    assert (found["rows"], found["sum"]) == (len(counted), sum(counted))
