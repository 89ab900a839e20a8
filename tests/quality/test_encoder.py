"""How well each kind of text finds its own picture, by an encoder that was really trained."""

from dataclasses import replace
from pathlib import Path

import pytest

from kale_tasks.experts.encoder import DualEncoder
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.quality.encoder import matched
from kale_tasks.quality.report import make_report
from kale_tasks.quality.stored import report_path
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.world.describe import dense, fused
from tests.captions.world import KEY, Given, give, pairs
from tests.lakes import lake_of
from tests.quality.tiny_siglip import train

ROWS = 60


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    train(folder)
    return folder


def test_descriptions_find_their_pictures_and_alt_texts_do_not(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, encode = list[int](), DualEncoder.texts
    lake, settings = lake_of([f"warehouse={tmp_path / 'lake'}", f"quality.encoder={encoder}"])
    given = pairs(ROWS)
    given[0] = replace(given[0], image=b"what a stranger sent")
    give(lake, settings, given)
    captions = [
        {"uid": p.uid, "recipe": "kale", "stage": 1, "alt_text": p.alt.text, "dense_caption": dense(p.scene),
         "caption": fused(p.scene, p.alt.facts), "facts": 0}
        for p in given
    ]  # fmt: skip
    fuse = Given("fuse", "captions", captions)
    fuse.slice = {"recipe": "kale", "stage": 1}
    execute(Run(fuse, lake, settings, KEY))
    metrics = {row["source"]: row for row in make_report(lake, settings, KEY).metrics}
    scores = {source: row["image_score"] for source, row in metrics.items()}
    assert scores["dense"] > scores["stage 1"] > scores["alt-text"] + 0.1
    assert metrics["dense"]["own_image_share"] > 9 / ROWS > metrics["alt-text"]["own_image_share"]
    few = settings.with_values({"quality": {"encoder_rows": 5}})
    monkeypatch.setattr(DualEncoder, "texts", lambda self, texts: asked.append(len(texts)) or encode(self, texts))
    matched(lake, few, Snapshot.open(lake, Partition("images", KEY)), lake.arrow("captions", KEY))
    assert set(asked) == {4}  # the first five, of which one has no image
    assert "own image share" in lake.storage.read(report_path(KEY, "html")).decode()
