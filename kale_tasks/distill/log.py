"""TensorBoard logs of a training: written here, kept beside its checkpoints."""

import tempfile
from pathlib import Path

from kale_tasks.distill.parallel import Group
from kale_tasks.lake.storage.base import Storage


class Log:
    """Scalars by step; only the leading process writes."""

    def __init__(self, storage: Storage, folder: str, group: Group) -> None:
        self._storage, self._folder, self._leads = storage, folder, group.leads
        if self._leads:
            from torch.utils.tensorboard import SummaryWriter

            self._local = tempfile.TemporaryDirectory()
            self._writer = SummaryWriter(self._local.name)

    def write(self, step: int, **figures: float) -> None:
        """Note the figures of a step."""
        for name, value in figures.items() if self._leads else ():
            self._writer.add_scalar(f"train/{name}", value, step)

    def keep(self) -> None:
        """Put what is noted so far where it survives this process."""
        if self._leads:
            self._writer.flush()
            for file in Path(self._local.name).iterdir():
                self._storage.put(f"{self._folder}/{file.name}", file)

    def say(self, step: int, name: str, text: str) -> None:
        """Note a text."""
        if self._leads:
            self._writer.add_text(name, text, step)
