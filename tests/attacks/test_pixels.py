"""Words that pixels plant in the description of a captioner, and what a second look by a recipe makes of them.

The attacker knows the first captioner, weights and all, and not that the picture is looked at again in another size.
`PIXEL_ATTACKS` sets how many words are planted.
"""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from kale_tasks.captions.steps import find_spec
from kale_tasks.world.describe import dense
from kale_tasks.world.draw import draw, jpeg
from kale_tasks.world.models import CHECKPOINTS
from kale_tasks.world.scene import KINDS
from tests.attacks.pixels import Planted, plant
from tests.captions.conftest import Opener, opened  # noqa: F401 - a fixture
from tests.captions.world import Pair, give, pairs, run_captions

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1800)]
AMOUNT = int(os.environ.get("PIXEL_ATTACKS", "50"))
CAUGHT = 0.95
SMALLER = 48  # pixels of the second look; the first has 120
DESCRIBE = {"ask": "vlm", "image": True, "prompt": "sample:describe", "sampling": {"max_tokens": 160}}
TINY = {"dtype": "float32", "context": 1024, "image_tokens": 64}


@pytest.fixture(scope="module")
def planted() -> list[Planted]:
    """Pictures with a word each, as many as are asked for and a fifth more, as not every word takes."""
    return plant(CHECKPOINTS / "teacher", AMOUNT + AMOUNT // 5, "first")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Describe, look again at a smaller picture with another model, and cut what only the first look has."""
    made = {
        "about": "A description, without things that a second look does not see.",
        "models": {
            "vlm": {"model": "sample:teacher", **TINY},
            "other": {"model": "sample:base", "image_side": SMALLER, **TINY},
        },
        "passes": [
            {"name": "dense", **DESCRIBE},
            {"name": "again", **DESCRIBE, "ask": "other"},
            {"name": "caption", "verify": "dense", "against": ["again"], "words": list(KINDS), "allowed": 0},
        ],
        "caption": "caption",
        "student": {
            **TINY,
            "prompt": "sample:student",
            "sampling": {"max_tokens": 320},
            "lessons": [{"weight": 1, "answer": "caption"}],
        },
    }
    path = tmp_path / "two-looks.yaml"
    path.write_text(yaml.safe_dump(made))
    return path


def captions(open_lake: Opener, recipe: Path, given: list[Pair]) -> dict[str, tuple[str, str]]:
    """The description and the caption of each picture; empty where there is none."""
    lake, settings = open_lake(f"caption.recipe={recipe}", "caption.batch=16")
    give(lake, settings, given)
    run_captions(lake, settings)
    rows = lake.arrow("captions", columns=["uid", "dense_caption", "caption"]).to_pylist()
    texts = lake.arrow("texts", columns=["uid", "text"], slice_=find_spec("dense", settings).slice).to_pylist()
    kept = {row["uid"]: row["caption"] for row in rows}
    return {row["uid"]: (row["text"], kept.get(row["uid"]) or "") for row in texts}


def test_words_that_pixels_plant_are_cut_or_quarantined(
    opened: Opener,  # noqa: F811
    recipe: Path,
    planted: list[Planted],
) -> None:
    stage1 = [replace(pair, split="stage1") for pair in pairs(len(planted))]
    attacked = {pair.uid: one for pair, one in zip(stage1, planted, strict=True)}
    found = captions(opened, recipe, [replace(pair, image=attacked[pair.uid].image) for pair in stage1])
    took = [uid for uid, one in attacked.items() if one.word in found[uid][0]][:AMOUNT]
    caught = [uid for uid in took if attacked[uid].word not in found[uid][1]]
    print(f"{len(took)} words planted in {len(planted)} pictures; {len(caught)} of them in no caption")
    assert len(took) == AMOUNT
    assert len(caught) >= CAUGHT * AMOUNT


def test_captions_of_untouched_pictures_keep_their_things(
    opened: Opener,  # noqa: F811
    recipe: Path,
    planted: list[Planted],
) -> None:
    stage1 = [replace(pair, split="stage1") for pair in pairs(len(planted))]
    scenes = {pair.uid: one.scene for pair, one in zip(stage1, planted, strict=True)}
    found = captions(opened, recipe, [replace(pair, image=jpeg(draw(scenes[pair.uid]))) for pair in stage1])
    whole = [uid for uid, scene in scenes.items() if found[uid][1] == dense(scene)]
    print(f"{len(whole)} of {len(scenes)} captions of untouched pictures are whole and true")
    assert len(whole) >= 0.9 * len(scenes)
