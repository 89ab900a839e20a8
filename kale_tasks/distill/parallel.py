"""One process or several that share a model: who they are, how they start, how weights are spread."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, spawn

from kale_tasks import errors
from kale_tasks.settings.distill import Train


@dataclass(frozen=True)
class Group:
    """The processes of a training, seen from one of them."""

    rank: int
    world: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this one writes for all."""
        return self.rank == 0

    def total(self, value: torch.Tensor) -> float:
        """The sum of a number over all processes."""
        if self.world > 1:
            torch.distributed.all_reduce(value)
        return float(value)

    def meet(self) -> None:
        """Wait until every process is here."""
        if self.world > 1:
            torch.distributed.barrier()


def device_of(name: str, rank: int = 0) -> torch.device:
    """The device that a setting names, for one of several processes."""
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise errors.BadConfig("distill.train.device is a GPU, but torch sees none. Use auto or cpu.")
    return torch.device("cuda", rank)


def alone(train: Train) -> Group:
    """The group of a training in this one process."""
    return _begun(train, 0)


def spread(task: Callable[..., None], train: Train, *args: Any) -> None:
    """Call the task with a group and the arguments in each of the processes, and wait for all."""
    start: Any = spawn
    with tempfile.TemporaryDirectory() as folder:
        try:
            start(_process, (task, train, Path(folder), args), nprocs=train.processes)
        except (ProcessExitedException, ProcessRaisedException) as error:
            raise _told(Path(folder), error) from error


def _process(rank: int, task: Callable[..., None], train: Train, folder: Path, args: tuple[Any, ...]) -> None:
    group = _begun(train, rank)
    backend = "nccl" if group.device.type == "cuda" else "gloo"
    meeting = f"file://{folder}/meeting"
    torch.distributed.init_process_group(backend, init_method=meeting, rank=rank, world_size=train.processes)
    try:
        task(group, *args)
    except errors.KaleError as error:
        Path(folder, "error.json").write_text(json.dumps([type(error).__name__, str(error)]))
        raise
    finally:
        torch.distributed.destroy_process_group()


def _told(folder: Path, ended: Exception) -> Exception:
    # What a process said about its end, if it could say anything.
    if (said := folder / "error.json").exists():
        name, text = json.loads(said.read_text())
        return getattr(errors, name)(text)  # type: ignore[no-any-return]
    if isinstance(ended, ProcessExitedException):
        return errors.Transient(f"A training process died ({ended}). Run again: it goes on from the last checkpoint.")
    return ended


def _begun(train: Train, rank: int) -> Group:
    device = device_of(train.device, rank)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.set_float32_matmul_precision("high")
    if train.threads:
        torch.set_num_threads(train.threads)
    return Group(rank, train.processes, device)


def spread_weights(learner: nn.Module, train: Train, group: Group) -> None:
    """Cut the weights over all processes, layer by layer (FSDP2)."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(group.device.type, (group.world,))
    policy = MixedPrecisionPolicy(param_dtype=getattr(torch, train.dtype), reduce_dtype=torch.float32)
    model: Any = learner.model
    for layer in (*model.model.vision_tower.encoder.layers, *model.model.language_model.layers):
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(learner, mesh=mesh, mp_policy=policy)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A weight in one piece on the CPU, wherever its shards are; every process must ask."""
    full: Any = getattr(tensor, "full_tensor", None)
    return (full() if full else tensor).detach().cpu()


def fill(tensor: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """The value laid out as the tensor is: same device, same shards."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if isinstance(tensor, DTensor):
        return distribute_tensor(value.to(tensor.device), tensor.device_mesh, tensor.placements)
    return value.to(tensor.device)
