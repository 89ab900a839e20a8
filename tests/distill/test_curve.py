"""Students are trained on shares of the captions, and the card shows what more captions would give."""

import json

import pytest

from kale_tasks.distill import curve
from kale_tasks.distill.checkpoint import checkpoint_folder
from kale_tasks.distill.launch import run_training
from kale_tasks.distill.step import Distill
from kale_tasks.distill.train import example_sampler
from kale_tasks.errors import BadConfig
from kale_tasks.models import students
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import load
from tests.distill import small
from tests.distill.test_step import LAX, settings_of

SHARES = [0.25, 0.5, 0.75]


def run_of(lake):
    changed = {"curve": SHARES, "train": {"steps": 8, "connector_steps": 2}}
    return Run(Distill("demo"), lake, settings_of(lake, **LAX).with_values({"distill": changed}), small.KEY)


@pytest.mark.nightly
def test_the_card_has_a_curve_of_four_sizes_and_what_twice_as_many_captions_would_give(lake):
    execute(run_of(lake))
    (student,) = students.versions(lake)
    found = student.metrics["scaling"]
    assert found["captions"] == [12, 24, 36, 48] and len(found["losses"]) == 4  # of 60 * (1 - 0.2)
    assert found["losses"][-1] == pytest.approx(student.metrics["student"]["bits"], rel=0.01)
    assert found["low"] <= found["predicted"] <= found["high"]
    folder = students.local_copy(lake, student.version)
    assert "For 96 captions" in (folder / "README.md").read_text()
    assert (folder / "curve.svg").read_text().count("<circle") == 5


@pytest.mark.nightly
def test_what_was_trained_for_the_curve_is_not_trained_again_and_its_checkpoints_are_gone(lake, monkeypatch):
    run, trained = run_of(lake), []
    run_training(run)
    monkeypatch.setattr(curve, "run_training", lambda part: trained.append(part) or run_training(part))
    first = curve.learned(run)
    assert [part.settings.distill.train.steps for part in trained] == [2, 4, 6]
    assert not any(list(lake.storage.entries(checkpoint_folder(part.folder))) for part in trained)
    assert curve.learned(run) == first and len(trained) == 3
    kept = json.loads(lake.storage.read(f"{run.folder}/curve-0.25.json"))
    assert len(kept) == run.settings.distill.gate.rows


def test_a_smaller_training_has_a_part_of_the_captions_of_a_larger_one(lake, processor):
    def taught(share):
        of = curve.smaller(run_of(lake).settings, share)
        sampler = example_sampler(Run(Distill("demo"), lake, of, small.KEY), processor)
        return {example.sample.uid for batch in sampler._pool(0, range(1)) for one in batch for example in one}

    quarter, half, whole = (taught(share) for share in (0.25, 0.5, 1))
    assert quarter < half < whole


def test_a_curve_of_two_sizes_is_refused():
    with pytest.raises(BadConfig, match="three or more shares"):
        load(["distill.curve=[0.5]"], environ={})
