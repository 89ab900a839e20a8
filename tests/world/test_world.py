"""The sample world is a function of its seed, and everything planted in it is known."""

from collections import defaultdict
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kale_tasks.world.alttext import LONG, SHARES, write_alt
from kale_tasks.world.describe import attributes, dense, fused, read
from kale_tasks.world.names import invent
from kale_tasks.world.scene import COLOURS, KINDS, Facts, make_facts, make_scene
from kale_tasks.world.world import EVALUATION, Pair, World, key_name

SEEDS = st.integers(0, 10**9)
NOISE = {"plain", "generic", "spam", "strange", "wrong", "mojibake"}


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    """Three keys of six hundred pairs."""
    return [World(7).pair(key_name(number), index) for number in range(3) for index in range(600)]


@given(SEEDS, st.integers(0, 500))
def test_a_pair_is_a_function_of_seed_key_and_index(seed: int, index: int) -> None:
    assert World(seed).pair("2026-11-02", index) == World(seed).pair("2026-11-02", index)


def test_another_seed_is_another_world() -> None:
    assert World(1).pair("2026-11-01", 5) != World(2).pair("2026-11-01", 5)


@given(SEEDS)
def test_a_caption_states_exactly_its_scene_and_its_facts(seed: int) -> None:
    rng = Random(seed)
    scene, facts = make_scene(rng), make_facts(rng)
    claims = read(fused(scene, facts))
    assert (claims.attributes, claims.facts) == (attributes(scene), facts)


@given(SEEDS)
def test_a_dense_description_has_no_facts_that_the_image_does_not_show(seed: int) -> None:
    assert read(dense(make_scene(Random(seed)))).facts == Facts()


@given(SEEDS, st.sampled_from(sorted(SHARES)))
def test_an_alt_text_contains_its_facts_letter_by_letter(seed: int, kind: str) -> None:
    rng = Random(seed)
    scene = make_scene(rng)
    alt = write_alt(rng, kind, scene, make_facts(rng))
    facts = [value for value in vars(alt.facts).values() if value]
    assert all(value in alt.text for value in facts)
    assert not (facts and kind in NOISE)
    assert (len(alt.text) == LONG) == (kind == "long")


@given(SEEDS)
def test_a_wrong_alt_text_names_a_thing_that_is_not_in_the_image(seed: int) -> None:
    rng = Random(seed)
    scene = make_scene(rng)
    text = write_alt(rng, "wrong", scene, make_facts(rng)).text
    shown = {f"{thing.colour} {thing.kind}" for thing in scene.things}
    named = {f"{colour} {kind}" for colour in COLOURS for kind in KINDS if f"{colour} {kind}" in text}
    assert named and not named & shown


def test_names_rarely_repeat_and_use_all_letters() -> None:
    names = [invent(Random(seed)) for seed in range(3000)]
    assert len(set(names)) > 0.98 * len(names)
    assert {letter for name in names for letter in name.lower()} >= set("abcdefghijklmnopqrstuvwxyz")


def test_every_planted_pair_has_its_original(pairs: list[Pair]) -> None:
    clusters = defaultdict(list)
    for pair in pairs:
        clusters[pair.cluster].append(pair)
    for cluster in clusters.values():
        first, *copies = cluster
        if not first.cluster.startswith(EVALUATION):
            assert first.role in ("original", "placeholder")
        assert all(copy.scene == first.scene and copy.alt.facts == first.alt.facts for copy in copies)
    roles = {pair.role for pair in pairs}
    assert roles >= {"again", "exact", "near", "across", "across near", "placeholder", "evaluation"}


def test_exact_duplicates_have_the_same_bytes_and_near_ones_have_not(pairs: list[Pair]) -> None:
    world = World(7)
    originals = {pair.cluster: pair for pair in pairs if pair.role == "original"}
    for copy in [pair for pair in pairs if pair.cluster in originals and pair.role != "original"]:
        same = world.image(copy) == world.image(originals[copy.cluster])
        assert same == (not copy.role.endswith("near"))


def test_across_duplicates_come_from_an_earlier_key(pairs: list[Pair]) -> None:
    across = [pair for pair in pairs if pair.role.startswith("across")]
    assert across and all(pair.cluster < pair.key for pair in across)


def test_all_placeholders_are_the_same_image(pairs: list[Pair]) -> None:
    world = World(7)
    images = [world.image(pair) for pair in pairs if pair.role == "placeholder"]
    assert len(images) > 3 and len(set(images)) == 1
