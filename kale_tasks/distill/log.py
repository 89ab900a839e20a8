"""TensorBoard logs of a training."""

import tempfile
from pathlib import Path

from kale_tasks.distill.parallel import TrainingProcess
from kale_tasks.lake.storage.base import Storage


class TrainingLog:
    """TensorBoard logs of a training, copied to the run's folder. Only the leading process writes."""

    def __init__(self, storage: Storage, run_folder: str, process: TrainingProcess) -> None:
        self._storage, self._folder, self._writes = storage, f"{run_folder}/tensorboard", process.is_leader
        if self._writes:
            from torch.utils.tensorboard import SummaryWriter

            self._local = tempfile.TemporaryDirectory()
            self._writer = SummaryWriter(self._local.name)

    def add(self, step: int, **figures: float | None) -> None:
        """Log the figures of a step that are known."""
        for name, value in figures.items() if self._writes else ():
            if value is not None:
                self._writer.add_scalar(f"train/{name}", value, step)

    def add_text(self, step: int, name: str, text: str) -> None:
        """Log a text."""
        if self._writes:
            self._writer.add_text(name, text, step)

    def upload(self) -> None:
        """Copy the log to the warehouse, where it survives this process."""
        if self._writes:
            self._writer.flush()
            for file in Path(self._local.name).iterdir():
                self._storage.put(f"{self._folder}/{file.name}", file)
