"""Recipes whose effect packaged models can show, on photographs: with the pass that makes it, and without it.

Captioners, language models and judges are scripts that know no picture; experts and scorers are the packaged models.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean

import pytest
import torch

from tests.captions.photographs import ANIMALS, SIGNS, Photographs, hinted, quotes
from tests.captions.scripted import INVENTED
from tests.captions.test_neighbours import CASES, Bench, Case, Row
from tests.captions.world import Pair
from tests.engines.server import serving
from tests.experts.photographs import texts

pytestmark = [pytest.mark.server, pytest.mark.xdist_group("experts")]
Open = Callable[[Photographs], Bench]
SHIPPED = {case.recipe: case for case in CASES}
HINTS = "Describe this image. A hint from the web: <alt>{alt}</alt> It may show {tags}."


@pytest.fixture
def open_bench(tmp_path: Path) -> Iterator[Open]:
    torch.set_num_threads(1)
    with serving() as server:

        def opened(world: Photographs) -> Bench:
            server.reply = world.reply
            return Bench(tmp_path, server, world)

        yield opened


def shares(bench: Bench, case: Case) -> tuple[float, float]:
    """What a case measures on its rows, with its pass and without it."""
    found = bench.shares(case, bench.captions(case.recipe, case))["photographs"]
    lost = bench.shares(case, bench.captions(bench.changed(case), case))["photographs"]
    print(f"{case.recipe}: {len(bench.world.pairs)} photographs, with {found:.2f}, without {lost:.2f}")
    return found, lost


# Without the score, one of five candidates is right, and one of two alt-texts.
@pytest.mark.nightly
@pytest.mark.parametrize(("recipe", "least", "most"), [("best-of-n", 0.5, 0.3), ("capfilt", 0.75, 0.55)])
def test_the_packaged_score_chooses_the_text_of_the_picture(
    open_bench: Open, recipe: str, least: float, most: float
) -> None:
    world = Photographs(list(texts())[::3])

    def fits(row: Row, pair: Pair) -> float:
        return float(row["caption"].split()[:4] == world.own(pair.uid).split()[:4])

    script = world.candidates if recipe == "best-of-n" else world.tells
    found, lost = shares(open_bench(world), replace(SHIPPED[recipe], measure=fits, script=script))
    assert found >= least and lost <= most


@pytest.mark.nightly
@pytest.mark.parametrize("recipe", ["fusecap", "densefusion"])
def test_what_the_packaged_reader_reads_is_in_the_caption_and_nothing_invented(open_bench: Open, recipe: str) -> None:
    monuments = [name for name in texts() if "monuments" in name]
    world = Photographs(monuments[::7][: len(SIGNS)], SIGNS)
    unread = {"passes.dense": {"user": HINTS}, "passes.caption": {"against": ["alt", "tags"]}}

    def says(row: Row, pair: Pair) -> float:
        return float(world.signs[pair.uid] in row["caption"] and INVENTED.strip() not in row["caption"])

    case = replace(SHIPPED["fusecap"], measure=says, script=quotes)
    if recipe == "densefusion":
        case = replace(SHIPPED["densefusion"], measure=says, script=hinted, without=unread, drop=["ocr"])
    found, lost = shares(open_bench(world), case)
    assert found >= 0.85 and lost == 0


@pytest.mark.nightly
def test_an_animal_that_the_packaged_tags_do_not_confirm_is_cut(open_bench: Open) -> None:
    world = Photographs([f"explore_world_animals/{name}.webp" for name in ANIMALS])

    def right(row: Row, pair: Pair) -> float:
        named = [name for name in map(world.animal, world.names) if f"A {name} " in row["caption"]]
        return float(named == [world.animal(pair.uid)])

    case = replace(SHIPPED["image-textualization"], measure=right, script=world.imagines)
    found, lost = shares(open_bench(world), case)
    assert found >= 0.75 and lost == 0


def test_pictures_and_their_texts_are_mixed_as_it_says() -> None:
    world = Photographs(list(texts())[::3])
    wrong = mean(pair.alt.text != texts()[world.names[pair.uid]] for pair in world.pairs)
    assert 0.4 <= wrong <= 0.6
