"""A killed training continues from its checkpoint as if it had never stopped."""

import random
import re
import shutil
import signal

import pytest
from safetensors.torch import load_file

from kale_tasks.distill.checkpoint import checkpoint_folder, newest_state
from kale_tasks.distill.launch import is_trained, run_training
from kale_tasks.distill.sampler import StreamPosition
from kale_tasks.distill.state import TrainingState
from kale_tasks.distill.step import Distill
from kale_tasks.errors import BadData, Transient
from kale_tasks.lake.tables import Lake
from kale_tasks.models import students
from kale_tasks.runner.run import Run
from tests.distill import small
from tests.distill.processes import ActAfter, distill, fill_disk, kill_self

REFUSED = BadData.exit_code


def folder_of(lake):
    return checkpoint_folder(Run(Distill("demo"), lake, lake.settings, small.KEY).folder)


def student_of(lake):
    (student,) = students.versions(lake)
    return student


def weights_of(lake, student):
    return load_file(students.local_copy(lake, student.version) / "model.safetensors")


@pytest.mark.parametrize("times", [1, pytest.param(3, marks=pytest.mark.further)])
def test_a_killed_training_ends_with_the_same_weights(lake, base, tmp_path, times):
    undisturbed = small.small_settings(tmp_path / "undisturbed", base)
    small.commit_captions(Lake(undisturbed), small.KEY, 60)
    assert distill(undisturbed, small.KEY) == REFUSED
    kills = [random.randint(2, 4) for _ in range(times)]
    for steps in kills:  # before, at and after checkpoints, in both phases
        assert distill(lake.settings, small.KEY, ActAfter(steps, kill_self)) == -signal.SIGKILL, kills
    assert distill(lake.settings, small.KEY) == REFUSED
    other = Lake(undisturbed)
    one, two = student_of(lake), student_of(other)
    assert dict(one.files) == dict(two.files), kills
    weights, expected = weights_of(lake, one), weights_of(other, two)
    assert all(weights[name].equal(expected[name]) for name in expected)


def test_a_damaged_checkpoint_is_skipped(lake):
    assert distill(lake.settings, small.KEY, ActAfter(7, kill_self)) == -signal.SIGKILL
    folder = folder_of(lake)
    last = max(entry.path for entry in lake.storage.entries(folder) if entry.path.endswith(".tensors"))
    newest = newest_state(lake.storage, folder)
    lake.storage.put(last, lake.storage.read(last)[:1000])
    before = newest_state(lake.storage, folder)
    assert newest and before and before.step < newest.step


@pytest.mark.nightly
def test_a_checkpoint_whose_bytes_have_changed_is_refused_with_what_to_do(lake):
    assert distill(lake.settings, small.KEY, ActAfter(7, kill_self)) == -signal.SIGKILL
    last = max(e.path for e in lake.storage.entries(folder_of(lake)) if e.path.endswith(".tensors"))
    data = bytearray(lake.storage.read(last))
    data[len(data) // 2] ^= 1
    lake.storage.put(last, bytes(data))
    with pytest.raises(BadData, match=r"is damaged\. Delete the folder") as failure:
        run_training(Run(Distill("demo"), lake, lake.settings, small.KEY))
    shutil.rmtree(re.search(r"Delete the folder (\S+),", str(failure.value))[1])
    run_training(Run(Distill("demo"), lake, lake.settings, small.KEY))
    assert is_trained(Run(Distill("demo"), lake, lake.settings, small.KEY))


@pytest.mark.nightly
def test_a_training_that_filled_the_disk_continues_once_there_is_space(lake):
    assert distill(lake.settings, small.KEY, ActAfter(6, fill_disk)) == Transient.exit_code
    state = newest_state(lake.storage, folder_of(lake))
    assert state and 0 < state.step < lake.settings.distill.train.steps
    assert distill(lake.settings, small.KEY) == REFUSED
    assert student_of(lake).steps == lake.settings.distill.train.steps


@pytest.mark.nightly
def test_the_checkpoints_of_a_registered_student_are_deleted(lake):
    assert distill(lake.settings, small.KEY) == REFUSED
    assert not list(lake.storage.entries(folder_of(lake)))


def test_a_state_survives_json():
    state = TrainingState(7, StreamPosition(1, 2, 3), 0.5, 1, 99, ((1, 2.5), (2, 2.25)))
    assert TrainingState.from_json(state.to_json()) == state


def test_a_curve_stays_short_and_keeps_its_last_point():
    state = TrainingState()
    for step in range(1, 1001):
        state = TrainingState(step=step, curve=state.curve).with_loss(1 / step)
        assert state.curve[-1] == (step, round(1 / step, 5))
    assert len(state.curve) <= 200 and state.curve[0][0] < 20


def test_without_a_checkpoint_there_is_no_state(lake):
    assert newest_state(lake.storage, "models/none") is None
