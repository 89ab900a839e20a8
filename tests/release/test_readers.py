"""What other people's libraries read: every config at the root of a release, the card's metadata, and Croissant."""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlcroissant
import pyarrow.dataset as ds
import pytest
import yaml
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard, DatasetCardData

from kale_tasks.lake.storage.open import open_storage
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import Settings
from tests.hub.server import HubServer
from tests.lakes import lake_sets
from tests.release.conftest import Template, World, world
from tests.release.readers import load_all
from tests.release.test_choice import WithHoldout
from tests.release.world import Fuse, Student, Tars

FORMATS = "publish.formats=[mix,sentences,chat,images,webdataset,licenses,holdout]"
REPO = "datasets/an-organisation/captions"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Template:
    """Two keys in every format, with a holdout."""
    folder = tmp_path_factory.mktemp("readers")
    made = world("folder", folder, request, FORMATS, "publish.license=other", "publish.license_name=mixed",
                 "publish.license_link=https://example.org/licence", "publish.citation=@misc{k}")  # fmt: skip
    for key in "ab":
        for step in (WithHoldout(40), Tars(), Fuse(), Student()):
            execute(Run(step, made.lake, made.settings, key))
    made.release("b")
    return Template(folder, made)


def expected(it: World) -> dict[str, list[str]]:
    """The uids of each config and split, from the lake."""
    captions = it.lake.arrow("captions").to_pylist()
    full = sorted(row["uid"] for row in captions)
    texts = ("alt_text", "dense_caption", "caption")
    held = [row["uid"] for row in it.lake.arrow("pairs").to_pylist() if row["split"] == "holdout"]
    return {
        **{f"{name}/train": full for name in ("full", "sentences", "chat", "images", "licenses")},
        "core/train": sorted(row["uid"] for row in captions if row["stage"] == 1),
        "mix/train": sorted(row["uid"] for row in captions for text in texts if row[text]),
        "holdout/holdout": sorted(held),
    }


def uids(found: dict[str, dict[str, list[str]]]) -> dict[str, list[str]]:
    return {name: one["uids"] for name, one in found.items()}


def test_load_dataset_reads_every_config_at_the_root_of_a_folder(template: Template, tmp_path: Path) -> None:
    it = template.restored(f"publish.target={tmp_path / 'out'}")
    it.publish("b")
    found = load_all(str(tmp_path / "out"), tmp_path / "cache", HF_HUB_OFFLINE="1")
    assert uids(found) == expected(it)
    assert {"confidence", "experts", "candidates", "also"} <= set(found["full/train"]["columns"])


def test_load_dataset_reads_every_config_of_a_repository(template: Template, tmp_path: Path, hub: HubServer) -> None:
    it = template.restored(f"publish.target=hf://{REPO}")
    it.publish("b")
    found = load_all(REPO.removeprefix("datasets/"), tmp_path / "cache", HF_ENDPOINT=hub.url)
    assert uids(found) == expected(it)


@pytest.mark.usefixtures("s3", "postgres")
def test_the_card_at_the_root_of_s3_leads_to_the_rows_of_every_config(
    template: Template, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """`datasets` opens no s3:// address by itself: the patterns of the card are resolved by Arrow's file system."""
    s3 = request.getfixturevalue("s3")
    sets = [text for text in lake_sets("s3", tmp_path, request) if text.startswith("s3.")]
    it = template.restored(*sets, f"publish.target=s3://{s3.bucket()}/out")
    it.publish("b")
    assert at_root_of_s3(it) == expected(it)


def at_root_of_s3(it: World) -> dict[str, list[str]]:
    """Read what the root card names, with Arrow and the patterns of the card."""
    place = open_storage(str(it.settings.publish.target), it.settings.s3)
    known = yaml.safe_load(place.read("README.md").decode().split("---\n")[1])
    names = [entry.path for entry in place.entries("")]
    found = {}
    for config in known["configs"]:
        for files in config["data_files"]:
            paths = [name for name in names if any(Path(name).match(pattern) for pattern in files["path"])]
            table = ds.dataset(paths, filesystem=place.arrow).to_table(columns=["uid"])
            found[f"{config['config_name']}/{files['split']}"] = sorted(table["uid"].to_pylist())
    return found


@pytest.fixture(scope="module")
def published(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release in a folder."""
    it = template.restored(f"publish.target={tmp_path_factory.mktemp('published')}")
    return Path(it.publish("b"))


def test_croissant_gives_every_record_of_every_config(
    template: Template, published: Path, caplog: pytest.LogCaptureFixture
) -> None:
    it = template.restored()
    with caplog.at_level(logging.WARNING):
        dataset = mlcroissant.Dataset(jsonld=published / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors and not dataset.metadata.ctx.issues.warnings
    assert not caplog.text
    found = {one.uuid: uids_of(dataset, one.uuid) for one in dataset.metadata.record_sets}
    assert found == {name.partition("/")[0]: Counter(names) for name, names in expected(it).items()}


def uids_of(dataset: Any, config: str) -> Counter[str]:
    return Counter(record[f"{config}/uid"].decode() for record in dataset.records(config))


class Filtered(Fuse):
    """Captions of another recipe, with a further text."""

    slice: Mapping[str, Any] = {"recipe": "views", "stage": 1}  # type: ignore[misc]

    def config(self, settings: Settings) -> Mapping[str, Any]:
        return {"recipe": "views"}

    def made(self, run: Run, number: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found = super().made(run, number, rows)
        return [{**r, "recipe": "views", "also": json.dumps({"short": r["dense_caption"]})} for r in found]


@pytest.mark.nightly
def test_of_two_recipes_and_a_further_text_each_is_a_config_for_all_readers(template: Template, tmp_path: Path) -> None:
    sets = [f"publish.target={tmp_path / 'out'}", "schedule.recipes=[views]", "publish.formats=['view:short']"]
    it = template.restored(*sets)
    for key in "ab":
        execute(Run(Filtered(), it.lake, it.settings, key))
    it.release("b")
    place = Path(it.publish("b"))
    rows = it.lake.arrow("captions").to_pylist()
    filtered = sorted(row["uid"] for row in rows if row["recipe"] == "views")
    known = {
        "kale-full": sorted(row["uid"] for row in rows if row["recipe"] == "kale"),
        "kale-core": sorted(row["uid"] for row in rows if row["recipe"] == "kale" and row["stage"] == 1),
        **dict.fromkeys(("views-full", "views-core", "views-view-short"), filtered),
    }
    found = load_all(str(tmp_path / "out"), tmp_path / "cache", HF_HUB_OFFLINE="1")
    assert uids(found) == {f"{name}/train": names for name, names in known.items()}
    dataset = mlcroissant.Dataset(jsonld=place / "croissant.json")
    read = {one.uuid: uids_of(dataset, one.uuid) for one in dataset.metadata.record_sets}
    assert read == {name: Counter(names) for name, names in known.items()}


def test_the_metadata_is_what_the_classes_of_the_hub_accept(published: Path, hub: HubServer) -> None:
    text = (published / "README.md").read_text()
    card = DatasetCard(text)
    front = yaml.safe_load(text.split("---\n")[1])
    assert isinstance(card.data, DatasetCardData)
    assert DatasetCardData(**front).to_dict() == card.data.to_dict()
    assert (card.data.license, card.data.license_name) == ("other", "mixed")  # type: ignore[attr-defined]
    configs = MetadataConfigs.from_dataset_card_data(card.data)
    assert set(configs) == {c["config_name"] for c in front["configs"]} and configs.get_default_config_name() == "full"
    card.validate(repo_type="dataset")


def test_pictures_of_the_card_are_published_beside_it(published: Path) -> None:
    text = (published / "README.md").read_text()
    shown = [part.partition(")")[0] for part in text.split("](")[1:] if part.startswith("pictures/")]
    assert shown and all((published / name).read_text().startswith("<svg") for name in shown)
    root = (published.parent / "README.md").read_text()
    assert all(f"]({published.name}/{name})" in root for name in shown)


def test_every_file_of_the_manifest_has_the_hash_that_it_names(published: Path) -> None:
    for file in json.loads((published / "manifest.json").read_text())["files"]:
        assert hashlib.sha256((published / file["name"]).read_bytes()).hexdigest() == file["sha256"]
