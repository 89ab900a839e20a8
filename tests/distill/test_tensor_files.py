"""Checkpoints are sharded, hold no pickles, fit any optimiser and any number of processes, and are read by ranges."""

import json
from collections import Counter

import pytest
import torch
from torch import nn

from kale_tasks.distill.checkpoint import Checkpoints, checkpoint_folder, newest_state
from kale_tasks.distill.launch import run_training
from kale_tasks.distill.parallel import TrainingProcess
from kale_tasks.distill.state import TrainingState
from kale_tasks.distill.tensor_files import TensorReader
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.runner.verbs import plan
from tests.distill.test_train import run_of

ALONE = TrainingProcess(0, 1, torch.device("cpu"))


def model(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.Linear(7, 3, bias=False))


def trained(module, optimizer, steps):
    for step in range(steps):
        torch.manual_seed(step)
        module(torch.randn(4, 5)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


class Counting(FolderStorage):
    """Counts the bytes that are read of each kind of file."""

    def __init__(self, root):
        super().__init__(root)
        self.bytes = Counter()

    def read(self, path, offset=0, length=None):
        data = super().read(path, offset, length)
        self.bytes[path.rpartition(".")[2]] += len(data)
        return data


@pytest.mark.parametrize("kind", [{"fused": True}, {"foreach": True}, {"amsgrad": True}])
def test_a_restored_optimiser_continues_bit_for_bit_with_its_state_where_its_weights_are(tmp_path, kind):
    module, storage = model(1), FolderStorage(tmp_path)
    optimizer = torch.optim.AdamW(module.parameters(), 1e-2, **kind)
    trained(module, optimizer, 3)
    saved = Checkpoints(storage, "some", ALONE)
    saved.save(TrainingState(step=3), module, optimizer)
    trained(module, optimizer, 2)  # while it is written
    saved.wait()
    other = model(2)
    resumed = torch.optim.AdamW(other.parameters(), 1e-2, **kind)
    state = Checkpoints(storage, "some", ALONE).newest()
    Checkpoints(storage, "some", ALONE).restore(state, other, resumed)
    for weight, values in resumed.state.items():
        assert values["step"] == 3 and values["step"].device == weight.device
        assert {value.device for value in values.values()} == {weight.device}
    trained(other, resumed, 2)
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), other.parameters(), strict=True))


def test_only_what_is_trained_is_saved_and_read(tmp_path):
    module, storage = model(1), Counting(tmp_path)
    module[0].requires_grad_(False)
    optimizer = torch.optim.AdamW([weight for weight in module.parameters() if weight.requires_grad], 1e-2)
    trained(module, optimizer, 1)
    saved = Checkpoints(storage, "some", ALONE)
    saved.save(TrainingState(step=1), module, optimizer)
    saved.wait()
    names = TensorReader(storage, "some/step-00000001").names
    assert {name.split()[0] for name in names} == {"weight", "exp_avg", "exp_avg_sq", "step"}
    assert {name.split()[1] for name in names} == {"1.weight", "1.bias", "2.weight"}
    storage.bytes.clear()
    saved.restore(saved.newest(), module)  # weights alone
    assert storage.bytes["tensors"] == 4 * (7 + 7 + 21)


def test_files_are_raw_tensors_and_json_and_only_the_newest_two_checkpoints_are_kept(tmp_path):
    module, storage = model(1), FolderStorage(tmp_path)
    optimizer = torch.optim.AdamW(module.parameters(), 1e-2)
    saved = Checkpoints(storage, "some", ALONE)
    storage.put("some/step-00000001/00000.tensors", b"of a save that was killed")
    for step in (2, 3, 4):
        saved.save(TrainingState(step=step), module, optimizer)
    saved.wait()
    files = {entry.path for entry in storage.entries("some")}
    assert files == {f"some/step-0000000{n}/{f}" for n in (3, 4) for f in ("00000.tensors", "index.json", "state.json")}
    for path in files:
        if path.endswith(".json"):
            json.loads(storage.read(path))
        else:
            assert len(storage.read(path)) == 4 * (3 * (35 + 7 + 14 + 21) + 5)
    assert min(entry.size for entry in storage.entries("some")) < 300, "the state alone is small"


@pytest.mark.nightly
@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1)])
def test_a_training_continues_with_another_number_of_processes(lake, first, second):
    run = run_of(lake, processes=first)
    plan(run)
    curve, folder = newest_curve(run), checkpoint_folder(run.folder)
    for entry in list(lake.storage.entries(f"{folder}/step-00000008")):
        lake.storage.delete(entry.path)
    assert newest_state(lake.storage, folder).step == 6
    other = run_of(lake, processes=second)
    assert other.fingerprint == run.fingerprint
    resumed = newest_curve(other)
    assert resumed[:6] == curve[:6] and resumed[6:] == pytest.approx(curve[6:], rel=1e-3)
    assert len(list(lake.storage.entries(f"{folder}/step-00000008"))) == 2 + second, "a file for each process"


def newest_curve(run):
    run_training(run)
    return [loss for _, loss in newest_state(run.lake.storage, checkpoint_folder(run.folder)).curve]
