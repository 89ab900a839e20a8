"""Runs a training in one process, in several of one machine, or in one of those that torchrun starts on many."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, spawn

from kale_tasks import errors
from kale_tasks.settings.distill import Train

T = TypeVar("T")
_GLOO = "gloo/transport"  # in the messages of gloo; NCCL ends the process itself
_LOST = "Another process does not answer. Start the training again: it continues from the last checkpoint."


@dataclass(frozen=True)
class TrainingProcess:
    """One of the processes of a training."""

    rank: int
    world_size: int
    device: torch.device
    local_size: int = 1  # processes on this machine
    writers: Any = None  # the group in which checkpoints are written, beside the training; None if there is one process

    @property
    def is_leader(self) -> bool:
        """Whether this process writes states, logs and figures."""
        return self.rank == 0

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """Return the sum of numbers over all processes."""
        if self.world_size > 1:
            torch.distributed.all_reduce(value)
        return value

    def any(self, holds: bool) -> bool:
        """Whether something holds in one of the processes. May be asked while a checkpoint is written."""
        return bool(self.sum(torch.tensor(float(holds), device=self.device)))

    def same(self, make: Callable[[], T]) -> T:
        """Return what the leader makes, in every process. No checkpoint may be written meanwhile: it uses the group."""
        made: list[Any] = [make() if self.is_leader else None]
        if self.world_size > 1:
            torch.distributed.broadcast_object_list(made, group=self.writers)
        return made[0]  # type: ignore[no-any-return]


def choose_device(name: str, number: int = 0) -> torch.device:
    """Return the device for a process by the setting `cpu`, `cuda` or `auto`. BadConfig if there is no GPU."""
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise errors.BadConfig("distill.train.device asks for a GPU, but torch finds none. Use auto or cpu.")
    return torch.device("cuda", number)


def arithmetic(process: TrainingProcess, train: Train) -> AbstractContextManager[Any]:
    """Context manager: forward passes in `train.dtype`. Of several processes, FSDP sees to that by itself."""
    if train.dtype == "float32" or process.world_size > 1:
        return nullcontext()
    return torch.autocast(process.device.type, getattr(torch, train.dtype))


def require_equal_shares(train: Train, processes: int) -> None:
    """Raise BadConfig if the forward passes of a step cannot be shared equally by these processes."""
    if train.accumulate % processes:
        raise errors.BadConfig(f"distill.train.accumulate must be a multiple of the {processes} processes.")


def single_process(train: Train) -> TrainingProcess:
    """Set up this process as the only one of a training."""
    return TrainingProcess(0, 1, _set_up(train, 0))


def is_launched() -> bool:
    """Whether torchrun, or a scheduler that sets the same variables, has started this process; also if it is alone."""
    return {"RANK", "WORLD_SIZE"} <= os.environ.keys()


@contextmanager
def launched_process(train: Train) -> Iterator[TrainingProcess]:
    """Join the processes that were started with this one, on this machine and on others.

    RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT are torchrun's. Raises Transient if one
    of them no longer answers.
    """
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    local = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    with _joined(train, rank, world_size, local, "env://") as process:
        try:
            yield process
        except RuntimeError as error:
            if _GLOO in str(error):
                raise errors.Transient(f"{_LOST} ({error})") from error
            raise


def run_in_processes(task: Callable[..., None], train: Train, *args: Any) -> None:
    """Call `task(process, *args)` in `train.processes` new processes of this machine and wait for all of them.

    A KaleError of one of them is raised again with its class; a process that dies raises Transient.
    """
    start: Any = spawn
    with tempfile.TemporaryDirectory() as folder:
        try:
            start(_run, (task, train, Path(folder), args), nprocs=train.processes)
        except (ProcessExitedException, ProcessRaisedException) as error:
            raise _cause(Path(folder), error) from error


def _run(rank: int, task: Callable[..., None], train: Train, folder: Path, args: tuple[Any, ...]) -> None:
    local = rank, train.processes
    with _joined(train, rank, train.processes, local, f"file://{folder}/rendezvous") as process:
        try:
            task(process, *args)
        except errors.KaleError as error:
            Path(folder, "error.json").write_text(json.dumps([type(error).__name__, str(error)]))
            raise


@contextmanager
def _joined(
    train: Train, rank: int, world_size: int, local: tuple[int, int], rendezvous: str
) -> Iterator[TrainingProcess]:
    device = _set_up(train, local[0])
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    silence = timedelta(seconds=train.silence_seconds)
    torch.distributed.init_process_group(
        backend, init_method=rendezvous, timeout=silence, rank=rank, world_size=world_size
    )
    try:
        writers = torch.distributed.new_group(backend="gloo", timeout=silence)
        yield TrainingProcess(rank, world_size, device, local[1], writers)
    finally:
        torch.distributed.destroy_process_group()


def _cause(folder: Path, error: Exception) -> Exception:
    if (report := folder / "error.json").exists():
        name, text = json.loads(report.read_text())
        return getattr(errors, name)(text)  # type: ignore[no-any-return]
    if isinstance(error, ProcessExitedException):
        return errors.Transient(f"A training process died ({error}). Run again to continue from the last checkpoint.")
    return error


def _set_up(train: Train, number: int) -> torch.device:
    device = choose_device(train.device, number)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.set_float32_matmul_precision("high")
    if train.threads:
        torch.set_num_threads(train.threads)
    return device


def shard_weights(module: nn.Module, train: Train, process: TrainingProcess) -> None:
    """Shard the weights layer by layer (FSDP2) over `shards` processes, and keep a copy in each such group (HSDP)."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    from kale_tasks.distill.model import language_of, layers_of, vision_of

    shards = train.shards or process.local_size
    if process.world_size % shards:
        raise errors.BadConfig(f"distill.train.shards: {process.world_size} processes do not divide by {shards}.")
    sizes = (process.world_size // shards, shards) if shards < process.world_size else (shards,)
    mesh = init_device_mesh(process.device.type, sizes, mesh_dim_names=("copies", "shards")[-len(sizes) :])
    policy = MixedPrecisionPolicy(param_dtype=getattr(torch, train.dtype), reduce_dtype=torch.float32)
    model: Any = module.model
    for layer in (*layers_of(vision_of(model)), *layers_of(language_of(model))):
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(module, mesh=mesh, mp_policy=policy)
