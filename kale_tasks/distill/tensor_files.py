"""Storage of torch's distributed checkpoints in the lake: raw tensors in one file a process, and an index in JSON.

Every process writes and reads only its own share, by ranges; nothing is pickled.
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, ReadItem, SavePlan, SavePlanner
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from torch.futures import Future
from xxhash import xxh3_64_hexdigest

from kale_tasks.errors import BadData
from kale_tasks.lake.storage.base import Storage

INDEX, STATE = "index.json", "state.json"
T = TypeVar("T")


@dataclass(frozen=True)
class _Place:
    """Where the bytes of a piece of a tensor are."""

    file: str
    at: int
    bytes: int
    sizes: Sequence[int]
    hash: str


class TensorWriter(StorageWriter):
    """Writes a checkpoint to a folder of the lake. It is complete once it has its state file, which comes last."""

    def __init__(self, storage: Storage, folder: str, state: str) -> None:
        self._storage, self._folder, self._state = storage, folder, state
        self._rank = 0

    def reset(self, checkpoint_id: object = None) -> None:
        """Nothing is kept between checkpoints."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Note the rank of this process."""
        self._rank = kwargs["rank"]

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """Plans need no change."""
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """Plans need no change."""
        return plans

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Write the pieces of this process to one file."""
        name, results, at = f"{self._rank:05d}.tensors", [], 0
        with tempfile.TemporaryDirectory() as temporary:
            file = Path(temporary, name)
            with file.open("wb") as out:
                for item in plan.items:
                    tensor = planner.resolve_data(item)
                    assert isinstance(tensor, torch.Tensor) and item.tensor_data is not None
                    array: Any = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
                    data = memoryview(array)
                    out.write(data)
                    place = _Place(name, at, data.nbytes, [*item.tensor_data.chunk.sizes], xxh3_64_hexdigest(data))
                    results.append(WriteResult(item.index, data.nbytes, place))
                    at += data.nbytes
            self._storage.put(f"{self._folder}/{name}", file)
        return _done(results)

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Write the index, then the state. Only one process calls this, after all have written their files."""
        index: dict[str, Any] = {}
        files: dict[str, int] = {}
        for result in (one for some in results for one in some):
            name, place = result.index.fqn, result.storage_data
            of = metadata.state_dict_metadata[name]
            assert isinstance(of, TensorStorageMetadata)
            entry = index.setdefault(name, {"dtype": str(of.properties.dtype), "shape": [*of.size], "pieces": []})
            entry["pieces"].append({"offsets": [*(result.index.offset or ())], **asdict(place)})
            files[place.file] = files.get(place.file, 0) + place.bytes
        self._storage.put(f"{self._folder}/{INDEX}", json.dumps(index).encode())
        done = {"state": self._state, "files": files}
        self._storage.put(f"{self._folder}/{STATE}", json.dumps(done).encode())

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: object) -> bool:
        """Checkpoints are named by folder, not by id."""
        return False


class TensorReader(StorageReader):
    """Reads a checkpoint from a folder of the lake. `names` are the tensors in it."""

    def __init__(self, storage: Storage, folder: str) -> None:
        self._storage, self._folder = storage, folder
        self._index = json.loads(storage.read(f"{folder}/{INDEX}"))
        self._places: dict[MetadataIndex, _Place] = {}

    @property
    def names(self) -> set[str]:
        """The names of the tensors."""
        return set(self._index)

    def reset(self, checkpoint_id: object = None) -> None:
        """Nothing is kept between checkpoints."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Return the index in torch's words."""
        tensors, places = {}, {}
        for name, entry in self._index.items():
            properties = TensorProperties(dtype=getattr(torch, entry["dtype"].removeprefix("torch.")))
            pieces = []
            for piece in entry["pieces"]:
                offsets = torch.Size(piece["offsets"])
                pieces.append(ChunkStorageMetadata(offsets=offsets, sizes=torch.Size(piece["sizes"])))
                places[MetadataIndex(name, offsets)] = _Place(**{k: v for k, v in piece.items() if k != "offsets"})
            tensors[name] = TensorStorageMetadata(properties, torch.Size(entry["shape"]), pieces)
        return Metadata(state_dict_metadata={**tensors}, storage_data=places)

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Take over the places."""
        self._places = metadata.storage_data

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """Plans need no change."""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """Plans need no change."""
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Fill the tensors of this process."""
        for item in plan.items:
            target = planner.resolve_tensor(item).detach()
            target.copy_(self._piece(item, target.dtype))
            planner.commit_tensor(item, target)
        return _done(None)

    def _piece(self, item: ReadItem, dtype: torch.dtype) -> torch.Tensor:
        """Read the rows that are wanted of a piece. Only a piece that is read whole can be held against its hash."""
        place = self._places[item.storage_index]
        if not place.bytes:
            return torch.empty([*item.lengths], dtype=dtype)
        if not place.sizes:
            return torch.frombuffer(self._read(place, 0, place.bytes), dtype=dtype).reshape(())
        row = place.bytes // place.sizes[0]
        first, rows = item.storage_offsets[0], item.lengths[0]
        found = torch.frombuffer(self._read(place, first * row, rows * row), dtype=dtype)
        found = found.reshape(rows, *place.sizes[1:])
        starts = (0, *item.storage_offsets[1:])
        return found[tuple(slice(at, at + n) for at, n in zip(starts, item.lengths, strict=True))]

    def _read(self, place: _Place, at: int, length: int) -> bytearray:
        path = f"{self._folder}/{place.file}"
        data = self._storage.read(path, place.at + at, length)
        if len(data) != length or (length == place.bytes and xxh3_64_hexdigest(data) != place.hash):
            raise BadData(
                f"The checkpoint {self._storage.uri(path)} is damaged. Delete the folder "
                f"{self._storage.uri(self._folder)}, then run again to continue from the checkpoint before it."
            )
        return bytearray(data)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: object) -> bool:
        """Checkpoints are named by folder, not by id."""
        return False


def _done(value: T) -> Future[T]:
    future: Future[T] = Future()
    future.set_result(value)
    return future
