"""Checkpoints: weights, optimiser state, position in the stream and random state in one file, written atomically."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from kale_tasks.distill.parallel import TrainingProcess, gather, place_like
from kale_tasks.distill.sampler import START, StreamPosition
from kale_tasks.errors import Transient
from kale_tasks.lake.storage.base import Storage

_KEPT = 2
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class TrainingState:
    """The progress of a training."""

    step: int = 0
    position: StreamPosition = START
    loss: float = 0.0  # running mean
    spikes: int = 0  # consecutive steps whose loss was far above the mean
    tokens: int = 0  # caption tokens trained on
    curve: tuple[tuple[int, float], ...] = ()

    @staticmethod
    def from_json(text: str) -> "TrainingState":
        """Parse what `to_json` returned."""
        fields = json.loads(text)
        curve = tuple((step, loss) for step, loss in fields.pop("curve"))
        return TrainingState(**{**fields, "position": StreamPosition(*fields["position"]), "curve": curve})

    def to_json(self) -> str:
        """Return the state as JSON text."""
        return json.dumps(asdict(self))

    def with_loss(self, loss: float, points: int = 200) -> "TrainingState":
        """Return the state with the loss of its step added to the curve, halving a curve of more than `points`."""
        curve = (*self.curve, (self.step, round(loss, 5)))
        return replace(self, curve=curve[::2] if len(curve) > points else curve)


def checkpoint_folder(run_folder: str) -> str:
    """Return the folder of a run's checkpoints. They are deleted once the student is registered."""
    return f"{run_folder}/checkpoints"


def save_checkpoint(
    storage: Storage, folder: str, state: TrainingState, module: nn.Module, optimizer: Any, process: TrainingProcess
) -> None:
    """Write a checkpoint and delete all but the newest two. Every process must call this; the leader writes."""
    tensors = {"rng": torch.get_rng_state()}
    for name, weight in module.named_parameters():
        tensors[f"weight {name}"] = gather(weight)
        for moment in _MOMENTS:
            if weight in optimizer.state:
                tensors[f"{moment} {name}"] = gather(optimizer.state[weight][moment])
    if process.is_leader:
        _write(storage, f"{folder}/step-{state.step:08d}.safetensors", tensors, state)
        for old in _checkpoints(storage, folder)[:-_KEPT]:
            storage.delete(old)
    process.barrier()  # no process may look for the newest checkpoint before it is written


def newest_state(storage: Storage, folder: str) -> TrainingState | None:
    """Return the state in the newest readable checkpoint, or None if there is no checkpoint."""
    with _open_newest(storage, folder) as file:
        return TrainingState.from_json(file.metadata()["state"]) if file else None


def restore_checkpoint(
    storage: Storage, folder: str, module: nn.Module, optimizer: Any, state: TrainingState, phase_start: int
) -> None:
    """Load the newest checkpoint; the optimiser state only if it belongs to the phase that began at `phase_start`."""
    with _open_newest(storage, folder) as file:
        for name, weight in module.named_parameters():
            with torch.no_grad():
                weight.copy_(place_like(file.get_tensor(f"weight {name}"), weight))
            if state.step > phase_start and weight.requires_grad:
                moments = {moment: place_like(file.get_tensor(f"{moment} {name}"), weight) for moment in _MOMENTS}
                optimizer.state[weight] = {"step": torch.tensor(float(state.step - phase_start)), **moments}
        torch.set_rng_state(file.get_tensor("rng"))


def checkpoint_weights(storage: Storage, folder: str) -> dict[str, torch.Tensor]:
    """Return the weights of the newest checkpoint by name."""
    with _open_newest(storage, folder) as file:
        names = [name for name in file.keys() if name.startswith("weight ")]  # noqa: SIM118 - not a mapping
        return {name.removeprefix("weight "): file.get_tensor(name) for name in names}


def _write(storage: Storage, path: str, tensors: dict[str, torch.Tensor], state: TrainingState) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary, "checkpoint")
        try:
            save_file({name: t.contiguous() for name, t in tensors.items()}, file, metadata={"state": state.to_json()})
        except (OSError, SafetensorError) as error:
            raise Transient(f"Cannot write a checkpoint to {temporary}: {error}. Free space and run again.") from error
        storage.put(path, file)


@contextmanager
def _open_newest(storage: Storage, folder: str) -> Iterator[Any]:
    with tempfile.TemporaryDirectory() as temporary:
        for path in reversed(_checkpoints(storage, folder)):
            copy = Path(temporary, Path(path).name)
            with storage.arrow.open_input_stream(path) as source, copy.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 22)
            try:
                file = safe_open(copy, "pt")
            except SafetensorError:
                continue  # damaged: use the one before it
            with file as opened:
                yield opened
            return
        yield None


def _checkpoints(storage: Storage, folder: str) -> list[str]:
    return sorted(entry.path for entry in storage.entries(folder) if entry.path.endswith(".safetensors"))
