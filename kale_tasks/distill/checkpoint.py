"""Checkpoints: weights, optimiser, place in the stream and randomness in one file, put whole or not at all."""

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

from kale_tasks.distill.parallel import Group, fill, whole
from kale_tasks.distill.sampler import START, Position
from kale_tasks.errors import Transient
from kale_tasks.lake.storage.base import Storage

_KEPT = 2
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class State:
    """How far a training is."""

    step: int = 0
    position: Position = START
    loss: float = 0.0  # running mean
    spikes: int = 0  # steps in a row whose loss was far above it
    tokens: int = 0  # caption tokens learned
    curve: tuple[tuple[int, float], ...] = ()

    @staticmethod
    def read(text: str) -> "State":
        """The state that `json` wrote."""
        told = json.loads(text)
        curve = tuple((step, loss) for step, loss in told.pop("curve"))
        return State(**{**told, "position": Position(*told["position"]), "curve": curve})

    def json(self) -> str:
        """Its text."""
        return json.dumps(asdict(self))


def save(storage: Storage, folder: str, state: State, learner: nn.Module, optimizer: Any, group: Group) -> None:
    """Put a checkpoint and let older ones go; every process takes part, the leader writes."""
    tensors = {"rng": torch.get_rng_state()}
    for name, weight in learner.named_parameters():
        tensors[f"weight {name}"] = whole(weight)
        for moment in _MOMENTS:
            if weight in optimizer.state:
                tensors[f"{moment} {name}"] = whole(optimizer.state[weight][moment])
    if group.leads:
        _put(storage, _path(folder, state.step), tensors, state)
        for old in _standing(storage, folder)[:-_KEPT]:
            storage.delete(old)
    group.meet()  # nobody may look for the newest checkpoint before it stands


def newest(storage: Storage, folder: str) -> State | None:
    """The state of the newest checkpoint that can be read."""
    with _opened(storage, folder) as file:
        return State.read(file.metadata()["state"]) if file else None


def restore(storage: Storage, folder: str, learner: nn.Module, optimizer: Any, state: State, began: int) -> None:
    """Load the newest checkpoint; the optimiser's part only if its phase had begun by then."""
    with _opened(storage, folder) as file:
        for name, weight in learner.named_parameters():
            with torch.no_grad():
                weight.copy_(fill(weight, file.get_tensor(f"weight {name}")))
            if state.step > began and weight.requires_grad:
                moments = {moment: fill(weight, file.get_tensor(f"{moment} {name}")) for moment in _MOMENTS}
                optimizer.state[weight] = {"step": torch.tensor(float(state.step - began)), **moments}
        torch.set_rng_state(file.get_tensor("rng"))


def weights(storage: Storage, folder: str) -> dict[str, torch.Tensor]:
    """The weights of the newest checkpoint by name."""
    with _opened(storage, folder) as file:
        names = [name for name in file.keys() if name.startswith("weight ")]  # noqa: SIM118 - not a mapping
        return {name.removeprefix("weight "): file.get_tensor(name) for name in names}


def thinned(state: State, loss: float, points: int = 200) -> State:
    """The state with one more point on its curve; every other point goes when there are too many."""
    curve = (*state.curve, (state.step, round(loss, 5)))
    return replace(state, curve=curve[::2] if len(curve) > points else curve)


def _put(storage: Storage, path: str, tensors: dict[str, torch.Tensor], state: State) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary, "checkpoint")
        try:
            save_file({name: t.contiguous() for name, t in tensors.items()}, file, metadata={"state": state.json()})
        except (OSError, SafetensorError) as error:
            raise Transient(f"No checkpoint fits into {temporary}: {error}. Free space and run again.") from error
        storage.put(path, file)


@contextmanager
def _opened(storage: Storage, folder: str) -> Iterator[Any]:
    with tempfile.TemporaryDirectory() as temporary:
        for path in reversed(_standing(storage, folder)):
            copy = Path(temporary, Path(path).name)
            with storage.arrow.open_input_stream(path) as source, copy.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 22)
            try:
                file = safe_open(copy, "pt")
            except SafetensorError:
                continue  # damaged: the one before it stands
            with file as opened:
                yield opened
            return
        yield None


def _standing(storage: Storage, folder: str) -> list[str]:
    return sorted(entry.path for entry in storage.entries(folder) if entry.path.endswith(".safetensors"))


def _path(folder: str, step: int) -> str:
    return f"{folder}/step-{step:08d}.safetensors"
