"""The scorer `encoder`, with a tiny encoder."""

from pathlib import Path
from random import Random

import pytest

from kale_tasks.experts.base import open_scorer
from kale_tasks.experts.encoder import DualEncoder
from kale_tasks.world.describe import dense
from kale_tasks.world.draw import draw
from kale_tasks.world.scene import make_scene
from tests.quality.tiny_siglip import train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    train(folder, steps=5)
    return folder


def test_each_pair_gets_the_cosine_of_its_own_image_or_text(folder: Path) -> None:
    rng = Random("scores")
    scenes = [make_scene(rng) for _ in range(4)]
    images, texts = [draw(scene) for scene in scenes], [dense(scene) for scene in scenes]
    scorer = open_scorer("encoder", {"model": str(folder)})
    scorer.start()
    mixed = [pair for at in range(4) for pair in ((images[at], texts[at]), (texts[at], texts[at]))]
    scores = scorer.scores(mixed)
    scorer.stop()
    encoder = DualEncoder(str(folder))
    cosines = encoder.images(images) @ encoder.texts(texts).T
    assert scores[0::2] == pytest.approx(cosines.diagonal().tolist(), abs=1e-4)
    assert scores[0::2] != pytest.approx(cosines.roll(1, 0).diagonal().tolist(), abs=1e-4)
    assert scores[1::2] == pytest.approx([1.0] * 4, abs=1e-4)


def test_its_identity_names_the_files_of_the_model(folder: Path) -> None:
    scorer = open_scorer("encoder", {"model": str(folder)})
    assert f"{folder.name}@" in scorer.identity
