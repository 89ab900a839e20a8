"""Processes that torchrun starts on machines with addresses of their own train one student, and survive a lost one."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kale_tasks.distill.checkpoint import checkpoint_folder, newest_state
from kale_tasks.distill.launch import is_trained, run_training, train_launched
from kale_tasks.distill.step import Distill
from kale_tasks.errors import BadConfig, BadData
from kale_tasks.lake.tables import Lake
from kale_tasks.models import students
from kale_tasks.runner.verbs import execute
from tests.distill import small
from tests.distill.test_train import run_of
from tests.services.hosts import hosts, may_make_namespaces

ROOT = Path(__file__).parents[2]


def torchrun(host, meeting, nodes, folder, base, **train):
    """Start one process on a machine; all meet at another, or at the same."""
    sets = [f"--set={one}" for one in small.small_overrides(folder, base, **train)]
    command = [
        *host.inside, sys.executable, "-m", "torch.distributed.run", f"--nnodes={nodes}", "--nproc-per-node=1",
        "--max-restarts=3", "--rdzv-backend=c10d", "--rdzv-id=kale", f"--rdzv-endpoint={meeting.address}:29500",
        f"--rdzv-conf=is_host={host is meeting},last_call_timeout=10,join_timeout=120",
        f"--local-addr={host.address}",
        "-m", "kale_tasks", "distill", "train", "--key", small.KEY, *sets,
    ]  # fmt: skip
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "eth"}
    return subprocess.Popen(command, env={**os.environ, **environment}, cwd=ROOT, start_new_session=True)


@pytest.fixture
def machines():
    if not may_make_namespaces():
        pytest.skip("needs the right to make network namespaces")
    with hosts(2) as made:
        yield made
        for host in made:  # what still runs there, if a test has failed
            host.lose()


def curve_of(lake, run):
    state = newest_state(lake.storage, checkpoint_folder(run.folder))
    return [loss for _, loss in state.curve] if state else []


def _files_of_newest(lake, run):
    paths = [entry.path for entry in lake.storage.entries(checkpoint_folder(run.folder))]
    newest = max((path.rpartition("/")[0] for path in paths), default="")
    return [path for path in paths if path.startswith(f"{newest}/")]


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_two_machines_train_as_one_does_and_one_command_makes_the_student(lake, base, tmp_path, machines):
    alone = Lake(small.small_settings(tmp_path / "alone", base, checkpoint_steps=1))
    small.commit_captions(alone, small.KEY, 60)
    run_training(one := run_of(alone))
    running = [torchrun(host, machines[0], 2, tmp_path, base, checkpoint_steps=1) for host in machines]
    assert [process.wait() for process in running] == [0, 0]
    both = run_of(lake)
    assert is_trained(both)
    assert curve_of(lake, both) == pytest.approx(curve_of(alone, one), rel=1e-3)
    assert len(_files_of_newest(lake, both)) == len(_files_of_newest(alone, one)) + 1, "one machine did it all"
    with pytest.raises(BadData, match="not promoted"):
        execute(run_of(lake))
    assert students.versions(lake)[0].steps == 8


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_training_goes_on_without_a_machine_that_was_lost(base, tmp_path, machines):
    train = {"steps": 24, "checkpoint_steps": 1, "silence_seconds": 20}
    alone, lake = (Lake(small.small_settings(tmp_path / name, base, **train)) for name in ("alone", "both"))
    for one in (alone, lake):
        small.commit_captions(one, small.KEY, 60)
    run_training(expected := run_of(alone))
    running = [torchrun(host, machines[0], "1:2", tmp_path / "both", base, **train) for host in machines]
    run = run_of(lake)
    while not any(path.endswith("00001.tensors") for path in _files_of_newest(lake, run)):
        time.sleep(0.1)
        assert running[0].poll() is None
    machines[1].lose()
    assert len(curve_of(lake, run)) < 24, "the training was over before the machine was lost"
    assert running[0].wait() == 0
    assert curve_of(lake, run) == pytest.approx(curve_of(alone, expected), rel=1e-3)


def test_the_last_process_that_torchrun_has_left_trains_alone(lake, monkeypatch):
    for name, value in {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 0}.items():
        monkeypatch.setenv(name, str(value))
    train_launched(Distill("demo"), lake.settings, small.KEY)
    assert is_trained(run_of(lake))


def test_a_process_that_torchrun_did_not_start_says_what_to_do(lake):
    with pytest.raises(BadConfig, match="start it with torchrun, or train with `kale run distill`"):
        train_launched(Distill("demo"), lake.settings, small.KEY)
