"""Planted answers give the verdicts that were planted."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kale_tasks.evaluate.analysis import Answers, compare, summary
from kale_tasks.evaluate.design import Design
from kale_tasks.evaluate.report import sentence
from tests.evaluate.small import SMALL

KINDS = ("known", "both", "seen")


def answers(shares: Mapping[str, float], seeds: int = 3, spread: float = 0.01, entities: int = 30) -> pa.Table:
    """Answers of arms that are right with these shares on entity questions, and all alike on the others."""
    rng = np.random.default_rng(1)
    taste = rng.normal(0, 0.1, entities)
    rows = []
    for arm, share in shares.items():
        for seed in range(seeds):
            shift = rng.normal(0, spread)
            for number in range(600):
                kind, entity = KINDS[number % 3], number % entities
                chance = 0.7 if kind == "seen" else share + shift + taste[entity]
                rows.append({"arm": arm, "seed": seed, "uid": f"{number:04}", "kind": kind,
                             "cluster": str(entity), "right": bool(rng.random() < chance)})  # fmt: skip
    return pa.Table.from_pylist(rows)


def design(arms: list[str], **outcomes: Any) -> Design:
    primary = {"questions": ["known", "both"], "baseline": "dense", "arms": arms}
    named = {arm: {} for arm in ["dense", *arms]}
    return Design.model_validate(
        {**SMALL, "arms": named, "seeds": [0, 1, 2], "primary": primary, "secondary": outcomes}
    )


def test_a_large_gain_is_shown_and_a_small_one_is_not() -> None:
    found = compare(
        Answers(answers({"dense": 0.3, "fused": 0.55, "mix": 0.305, "alt": 0.1})), design(["fused", "mix", "alt"])
    )
    verdicts = {one.arm: one for one in found}
    assert verdicts["fused"].shown and "better" in verdicts["fused"].verdict
    assert verdicts["alt"].shown and "worse" in verdicts["alt"].verdict
    assert not verdicts["mix"].shown and "would have been seen" in verdicts["mix"].verdict
    assert 0.01 < verdicts["mix"].visible < 0.2


def test_seeds_that_disagree_hide_a_gain() -> None:
    gain = {"dense": 0.4, "fused": 0.47}
    (quiet,), (loud,) = (compare(Answers(answers(gain, spread=s)), design(["fused"])) for s in (0.0, 0.12))
    assert quiet.visible < loud.visible / 1.5
    assert not loud.shown


def test_equivalence_and_non_inferiority_need_enough_questions() -> None:
    kinds = {"questions": ["seen"], "baseline": "dense", "arms": ["fused"]}
    equivalence = {**kinds, "test": "equivalent"}
    outcomes = {
        "a": {**kinds, "test": "not inferior", "margin": 0.1},
        "b": {**equivalence, "margin": 0.1},
        "c": {**equivalence, "margin": 0.001},
    }
    of = design(["fused"], **outcomes)
    found = {one.outcome: one for one in compare(Answers(answers({"dense": 0.3, "fused": 0.5})), of)}
    assert found["a"].shown and found["b"].shown and not found["c"].shown
    assert found["b"].verdict == "equivalent within 10 points"
    assert "not shown" in found["c"].verdict


@pytest.mark.nightly
def test_without_a_difference_something_is_shown_in_one_of_twenty_at_most() -> None:
    shown = 0
    for turn in range(150):
        rng = np.random.default_rng(turn)
        table = answers({"dense": 0.4, "a": 0.4, "b": 0.4}, spread=0.0)
        shuffled = table.set_column(5, "right", pa.array(rng.random(len(table)) < 0.4))
        shown += any(one.shown for one in compare(Answers(shuffled), design(["a", "b"])))
    assert shown / 150 < 0.08  # intervals err on the safe side


def test_only_seeds_of_both_arms_count() -> None:
    table = answers({"dense": 0.3, "fused": 0.5})
    partial = table.filter(pa.compute.invert(pa.compute.and_(pa.compute.equal(table["arm"], "fused"),
                                                             pa.compute.equal(table["seed"], 2))))  # fmt: skip
    of = Answers(partial)
    assert (of.seeds("dense"), of.seeds("dense", "fused")) == ([0, 1, 2], [0, 1])
    assert len(compare(of, design(["fused", "alt"]))) == 1, "an arm without answers is left out"


def test_the_summary_and_its_sentence_name_what_is_shown() -> None:
    of = design(["fused", "mix"])
    figures = {
        f"{arm}-{seed}": {"arm": arm, "words": 20.0, "pretrain": {"passes": 2.0}, "cpu_seconds": 36.0}
        for arm in ("dense", "fused", "mix")
        for seed in range(3)
    }
    found = summary(Answers(answers({"dense": 0.3, "fused": 0.55, "mix": 0.3})), of, figures)
    said = sentence(of, "primary", found["outcomes"]["primary"])
    assert "Shown: fused. Not shown: mix." in said
    assert found["cpu hours"] == pytest.approx(0.09)
    assert 0 < found["seed deviation"] < 5
    assert [row["seeds"] for row in found["needed"]] == sorted((r["seeds"] for r in found["needed"]), reverse=True)
