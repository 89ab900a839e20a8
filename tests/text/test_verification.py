"""What the rules of `verify` find: probes, and rates on real captions."""

from pathlib import Path

import pytest
import yaml

from bench import verification
from kale_tasks.text.cutting import claiming, count_words, stating, without
from kale_tasks.text.grounding import invented

PROBES = yaml.safe_load(Path(__file__).with_name("verification_probes.yaml").read_text(encoding="utf-8"))
TOWER = "A red tower is at the left. It was built in Rome in 1889. The sky above the old town is clear."


@pytest.mark.parametrize(
    ("caption", "source", "unsaid"),
    [pytest.param(*probe, id=f"{kind}: {probe[0]}") for kind in PROBES for probe in PROBES[kind]],
)
def test_a_fact_is_unsupported_if_no_source_says_it(caption: str, source: str, unsaid: list[str]) -> None:
    assert invented(caption, "", source) == set(unsaid)
    assert invented(caption, source, "") == set(unsaid)


def test_sentences_are_cut_at_whole_words() -> None:
    assert stating("Romeo waits. Rome is far.", {"Rome"}) == [1]
    assert without(TOWER, stating(TOWER, {"1889"}), 4) == (
        "A red tower is at the left. The sky above the old town is clear."
    )


@pytest.mark.parametrize(
    ("numbers", "least"),
    [([0], 4), ([0, 1], 20), ([0, 1, 2], 1)],
    ids=["refers to what is gone", "too short", "nothing left"],
)
def test_a_fragment_is_not_left(numbers: list[int], least: int) -> None:
    assert without(TOWER, numbers, least) == ""


def test_a_claim_is_found_in_other_words_and_one_that_is_nowhere_stops_the_cut() -> None:
    assert claiming(TOWER, ["the sky is clear"]) == [2]
    assert claiming(TOWER, ["a dog sleeps in a basket"]) is None


def test_words_are_counted_in_scripts_without_spaces() -> None:
    assert count_words("两只狗在公园里奔跑") == 4 and count_words("Two dogs run.") == 3


if verification.REAL.exists():  # real web text, which may not be redistributed

    def test_on_real_captions_false_alarms_are_rare() -> None:
        rows = verification.held_out()
        flags, judged = verification.flagged(rows), yaml.safe_load(verification.JUDGED.read_text(encoding="utf-8"))
        new = [name for name in flags if name[:16] in judged["said"]]
        assert len(judged["said"]) / judged["rows"] <= 0.01
        assert len(new) <= len(judged["said"])

    @pytest.mark.parametrize("kind", verification.CLASSES)
    def test_false_facts_in_real_captions_are_found(kind: str) -> None:
        for more in (0, verification.MORE):
            hits, total = verification.found_share(verification.held_out()[:100], kind, more)
            assert hits / total >= 0.9
