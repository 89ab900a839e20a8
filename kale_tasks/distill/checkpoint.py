"""Checkpoints of a training: every process writes its share of the weights and of the optimiser in the background."""

import json
import warnings
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import groupby, islice
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save

from kale_tasks.distill.parallel import TrainingProcess
from kale_tasks.distill.state import TrainingState
from kale_tasks.distill.tensor_files import STATE, TensorReader, TensorWriter
from kale_tasks.errors import KaleError, Transient
from kale_tasks.lake.storage.base import Storage

_KEPT = 2
warnings.filterwarnings("ignore", "torch.distributed is disabled")  # one process needs no group


def checkpoint_folder(run_folder: str) -> str:
    """Return the folder of a run's checkpoints. They are deleted once the student is registered."""
    return f"{run_folder}/checkpoints"


def newest_state(storage: Storage, folder: str) -> TrainingState | None:
    """Return the state in the newest complete checkpoint, or None if there is no checkpoint."""
    return next((state for _, state in _complete(storage, folder)), None)


class Checkpoints:
    """The checkpoints in a folder of the lake, as one of the processes of a training sees them."""

    def __init__(self, storage: Storage, folder: str, process: TrainingProcess) -> None:
        self._storage, self._folder, self._process = storage, folder, process
        self._saving: Future[Any] | None = None

    def newest(self) -> TrainingState:
        """Return the newest state, the same in every process; that of a new training if there is no checkpoint."""
        return self._process.same(lambda: newest_state(self._storage, self._folder) or TrainingState())

    def save(self, state: TrainingState, module: nn.Module, optimizer: Any) -> None:
        """Copy what is trained, and write it in the background. Every process must call this."""
        self.wait()
        writer = TensorWriter(self._storage, self._place(state), state.to_json())
        with _failures_named():
            tensors = {**_weights(module), **_moments(module, optimizer)}
            saving = async_save(tensors, storage_writer=writer, process_group=self._process.writers)
            assert isinstance(saving, Future)
            self._saving = saving

    def wait(self) -> None:
        """Wait until the last checkpoint is written, and delete all but the newest two. Raises why it cannot be."""
        if self._saving is None:
            return
        saving, self._saving = self._saving, None
        with _failures_named():
            saving.result()
        if self._process.is_leader:
            self._delete_old()

    def _delete_old(self) -> None:
        kept = [place for place, _ in islice(_complete(self._storage, self._folder), _KEPT)]
        for entry in list(self._storage.entries(self._folder)):
            if entry.path < min(kept):  # complete or not
                self._storage.delete(entry.path)

    def restore(self, state: TrainingState, module: nn.Module, optimizer: Any = None) -> None:
        """Load weights, and the state of an optimizer if one is given, into the places where they are used."""
        reader = TensorReader(self._storage, self._place(state))
        moments = _moments(module, optimizer) if optimizer else {}
        tensors = {**_weights(module, reader.names), **moments}
        with _failures_named():
            load(tensors, storage_reader=reader, process_group=self._process.writers)
        if optimizer:  # through its own loader, which puts each value on the device where the optimiser needs it
            set_optimizer_state_dict(module, optimizer, get_optimizer_state_dict(module, optimizer))

    def _place(self, state: TrainingState) -> str:
        return f"{self._folder}/step-{state.step:08d}"


def _weights(module: nn.Module, names: set[str] | None = None) -> dict[str, torch.Tensor]:
    """The trained weights, or those that a checkpoint has. What is not trained is in the model to start from."""
    found = {f"weight {name}": weight for name, weight in module.named_parameters()}
    return {n: w.detach() for n, w in found.items() if (w.requires_grad if names is None else n in names)}


def _moments(module: nn.Module, optimizer: Any) -> dict[str, torch.Tensor]:
    state: Any = get_optimizer_state_dict(module, optimizer)["state"]
    return {f"{kind} {name}": value for name, kinds in state.items() for kind, value in kinds.items()}


def _complete(storage: Storage, folder: str) -> Iterator[tuple[str, TrainingState]]:
    """Yield places and states of the checkpoints whose files are all there in full, the newest first."""
    entries = sorted(storage.entries(folder), key=lambda entry: entry.path, reverse=True)
    for place, files in groupby(entries, lambda entry: entry.path.rpartition("/")[0]):
        sizes = {entry.path.rpartition("/")[2]: entry.size for entry in files}
        if STATE in sizes:
            written = json.loads(storage.read(f"{place}/{STATE}"))
            if all(sizes.get(name) == size for name, size in written["files"].items()):
                yield place, TrainingState.from_json(written["state"])


@contextmanager
def _failures_named() -> Iterator[None]:
    """Raise what failed in one of the processes instead of torch's list of tracebacks."""
    try:
        yield
    except CheckpointException as error:
        cause = next(iter(error.failures.values()))[0]
        if isinstance(cause, KaleError):
            raise cause from None
        raise Transient(f"Cannot write or read a checkpoint: {cause}. Free space and run again.") from error
