"""Runs a training in one process, or in several that share the model with FSDP2."""

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
class TrainingProcess:
    """One of the processes of a training."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_leader(self) -> bool:
        """Whether this process writes checkpoints, logs and figures."""
        return self.rank == 0

    def sum(self, value: torch.Tensor) -> float:
        """Return the sum of a number over all processes."""
        if self.world_size > 1:
            torch.distributed.all_reduce(value)
        return float(value)

    def barrier(self) -> None:
        """Wait until every process has called this."""
        if self.world_size > 1:
            torch.distributed.barrier()


def choose_device(name: str, rank: int = 0) -> torch.device:
    """Return the device for a process by the setting `cpu`, `cuda` or `auto`. BadConfig if there is no GPU."""
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise errors.BadConfig("distill.train.device asks for a GPU, but torch finds none. Use auto or cpu.")
    return torch.device("cuda", rank)


def single_process(train: Train) -> TrainingProcess:
    """Set up this process as the only one of a training."""
    return _set_up(train, 0)


def run_in_processes(task: Callable[..., None], train: Train, *args: Any) -> None:
    """Call `task(process, *args)` in `train.processes` new processes and wait for all of them.

    A KaleError of one of them is raised again with its class; a process that dies raises Transient.
    """
    start: Any = spawn
    with tempfile.TemporaryDirectory() as folder:
        try:
            start(_run, (task, train, Path(folder), args), nprocs=train.processes)
        except (ProcessExitedException, ProcessRaisedException) as error:
            raise _cause(Path(folder), error) from error


def _run(rank: int, task: Callable[..., None], train: Train, folder: Path, args: tuple[Any, ...]) -> None:
    process = _set_up(train, rank)
    backend = "nccl" if process.device.type == "cuda" else "gloo"
    rendezvous = f"file://{folder}/rendezvous"
    torch.distributed.init_process_group(backend, init_method=rendezvous, rank=rank, world_size=train.processes)
    try:
        task(process, *args)
    except errors.KaleError as error:
        Path(folder, "error.json").write_text(json.dumps([type(error).__name__, str(error)]))
        raise
    finally:
        torch.distributed.destroy_process_group()


def _cause(folder: Path, error: Exception) -> Exception:
    if (report := folder / "error.json").exists():
        name, text = json.loads(report.read_text())
        return getattr(errors, name)(text)  # type: ignore[no-any-return]
    if isinstance(error, ProcessExitedException):
        return errors.Transient(f"A training process died ({error}). Run again to continue from the last checkpoint.")
    return error


def _set_up(train: Train, rank: int) -> TrainingProcess:
    device = choose_device(train.device, rank)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.set_float32_matmul_precision("high")
    if train.threads:
        torch.set_num_threads(train.threads)
    return TrainingProcess(rank, train.processes, device)


def shard_weights(module: nn.Module, train: Train, process: TrainingProcess) -> None:
    """Shard the weights over all processes, layer by layer (FSDP2)."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(process.device.type, (process.world_size,))
    policy = MixedPrecisionPolicy(param_dtype=getattr(torch, train.dtype), reduce_dtype=torch.float32)
    model: Any = module.model
    for layer in (*model.model.vision_tower.encoder.layers, *model.model.language_model.layers):
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(module, mesh=mesh, mp_policy=policy)


def gather(tensor: torch.Tensor) -> torch.Tensor:
    """Return a weight in one piece on the CPU. Every process must call this for a sharded weight."""
    full: Any = getattr(tensor, "full_tensor", None)
    return (full() if full else tensor).detach().cpu()


def place_like(value: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """Return a value on the device of a tensor, sharded as the tensor is."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if isinstance(tensor, DTensor):
        return distribute_tensor(value.to(tensor.device), tensor.device_mesh, tensor.placements)
    return value.to(tensor.device)
