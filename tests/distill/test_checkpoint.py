"""A killed training goes on as if nothing had happened."""

import random
import signal

from safetensors.torch import load_file

from kale_tasks.distill import checkpoint as resume
from kale_tasks.distill.checkpoint import State
from kale_tasks.distill.sampler import Position
from kale_tasks.distill.step import Distill, checkpoints
from kale_tasks.errors import BadData, Transient
from kale_tasks.lake.tables import Lake
from kale_tasks.models import students as registry
from kale_tasks.runner.run import Run
from tests.distill import school
from tests.distill.pupils import Fated, die, distill, fill_disk

REFUSED = BadData.exit_code


def student_of(lake):
    (student,) = registry.versions(lake)
    return student


def weights_of(lake, student):
    return load_file(registry.local_copy(lake, student.version) / "model.safetensors")


def test_killed_three_times_it_ends_with_the_same_weights(lake, base, tmp_path):
    undisturbed = school.small_settings(tmp_path / "undisturbed", base)
    school.teach(Lake(undisturbed), school.KEY, 60)
    assert distill(undisturbed, school.KEY) == REFUSED
    kills = [random.randint(2, 4) for _ in range(3)]
    for steps in kills:  # before, at and after checkpoints, in both phases
        assert distill(lake.settings, school.KEY, Fated(steps, die)) == -signal.SIGKILL, kills
    assert distill(lake.settings, school.KEY) == REFUSED
    other = Lake(undisturbed)
    one, two = student_of(lake), student_of(other)
    assert dict(one.files) == dict(two.files), kills
    weights, expected = weights_of(lake, one), weights_of(other, two)
    assert all(weights[name].equal(expected[name]) for name in expected)


def test_a_damaged_checkpoint_is_passed_over(lake):
    assert distill(lake.settings, school.KEY, Fated(7, die)) == -signal.SIGKILL
    run = Run(Distill(), lake, lake.settings, school.KEY)
    last = max(entry.path for entry in lake.storage.entries(checkpoints(run)))
    known = resume.newest(lake.storage, checkpoints(run))
    lake.storage.put(last, lake.storage.read(last)[:1000])
    before = resume.newest(lake.storage, checkpoints(run))
    assert known and before and before.step < known.step


def test_a_full_disk_ends_the_run_which_goes_on_when_there_is_room(lake):
    assert distill(lake.settings, school.KEY, Fated(6, fill_disk)) == Transient.exit_code
    known = resume.newest(lake.storage, checkpoints(Run(Distill(), lake, lake.settings, school.KEY)))
    assert known and 0 < known.step < lake.settings.distill.train.steps
    assert distill(lake.settings, school.KEY) == REFUSED
    assert student_of(lake).steps == lake.settings.distill.train.steps


def test_a_registered_student_leaves_no_checkpoints(lake):
    assert distill(lake.settings, school.KEY) == REFUSED
    assert not list(lake.storage.entries(checkpoints(Run(Distill(), lake, lake.settings, school.KEY))))


def test_a_state_survives_its_text():
    state = State(7, Position(1, 2, 3), 0.5, 1, 99, ((1, 2.5), (2, 2.25)))
    assert State.read(state.json()) == state


def test_a_curve_stays_short_and_keeps_its_last_point():
    state = State()
    for step in range(1, 1001):
        state = resume.thinned(State(step=step, curve=state.curve), 1 / step)
        assert state.curve[-1] == (step, round(1 / step, 5))
    assert len(state.curve) <= 200 and state.curve[0][0] < 20


def test_no_checkpoint_is_no_state(lake):
    assert resume.newest(lake.storage, "models/none") is None
