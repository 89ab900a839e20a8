"""The evaluation data of the sample world asks what captions alone know, and plants what a design says."""

from collections import Counter
from typing import Any

import pytest

from kale_tasks.errors import BadConfig
from kale_tasks.world.entities import EntityWorld
from kale_tasks.world.evaluation import UNKNOWN, SampleData


@pytest.fixture(scope="module")
def data() -> SampleData:
    return SampleData(None, seed=9, images=640, lessons=400, questions=400)


def texts(data: SampleData, **arm: Any) -> list[str]:
    return [one.answer for one in data.captions(arm)]


def test_alt_texts_name_the_entity_mostly_and_another_one_rarely() -> None:
    world = EntityWorld(9)
    kinds = Counter(world.picture("x", n, world.captioned[n % 16]).alt.kind for n in range(600))
    assert kinds["named"] / 600 == pytest.approx(0.62, abs=0.07)
    assert kinds["wrong"] / 600 == pytest.approx(0.06, abs=0.03)


def test_entities_are_divided_into_taught_captioned_and_nameless() -> None:
    world = EntityWorld(9)
    assert len({(one.kind, one.colour) for one in world.entities}) == 64
    assert [len(some) for some in (world.taught, world.captioned, world.nameless)] == [36, 16, 12]
    assert len({one.facts.name for one in world.taught + world.captioned}) == 52
    assert not any(vars(one.facts)["name"] for one in world.nameless)


def test_questions_are_about_what_captions_name_and_no_lesson_does(data: SampleData) -> None:
    world, lessons = EntityWorld(9), " ".join(f"{one.question} {one.answer}" for one in data.lessons())
    fused, dense = (" ".join(texts(data, text=text)) for text in ("fused", "dense"))
    for entity in world.captioned:
        assert entity.facts.name not in lessons
        assert entity.facts.name in fused
        assert entity.facts.name not in dense
    asked = data.questions()
    assert Counter(one.kind for one in asked) == dict.fromkeys(("seen", "known", "named", "both", "decline"), 80)
    assert {one.answers for one in asked if one.kind == "decline"} == {(UNKNOWN,)}
    assert all(UNKNOWN not in one.answers for one in asked if one.kind != "decline")


def test_scenes_of_questions_are_in_no_arm(data: SampleData) -> None:
    seen = {data.image(one.image) for one in data.captions({"text": "dense"})}
    assert not seen & {data.image(one.image) for one in data.questions() if one.kind != "known"}


def test_arms_have_the_same_images(data: SampleData) -> None:
    images = {arm: [one.image for one in data.captions({"text": arm})] for arm in ("alt", "dense", "mix", "placebo")}
    assert len({tuple(some) for some in images.values()}) == 1


def test_a_placebo_is_as_long_and_as_rich_as_the_fused_text_and_wrong(data: SampleData) -> None:
    fused, placebo = texts(data, text="fused"), texts(data, text="placebo")
    words = [sum(len(text.split()) for text in some) for some in (fused, placebo)]
    assert words[0] == pytest.approx(words[1], rel=0.04)
    named = [(one, other) for one, other in zip(fused, placebo, strict=True) if "named" in one or "This is" in one]
    assert len(named) > len(fused) / 4
    assert sum(one == other for one, other in named) < len(named) / 10


def test_planted_errors_have_their_share_and_grow_with_it(data: SampleData) -> None:
    clean = texts(data, text="fused")
    few, many = (texts(data, text="fused", invented=share) for share in (0.1, 0.5))
    changed = [{at for at, text in enumerate(some) if text != clean[at]} for some in (few, many)]
    assert changed[0] < changed[1]
    assert len(texts(data, text="fused", share=0.25)) == pytest.approx(160, abs=35)
    assert len(texts(data, text="fused", share=0.5, second={"text": "dense"})) == 640


def test_a_wrong_arm_is_refused(data: SampleData) -> None:
    with pytest.raises(BadConfig, match="text"):
        data.captions({"text": "poem"})
    with pytest.raises(BadConfig, match="lots"):
        data.captions({"text": "fused", "lots": 1})
