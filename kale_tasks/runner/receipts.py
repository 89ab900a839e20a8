"""Receipts: the first attempt that finishes a part claims its number; what later attempts wrote is never used."""

import json
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

from kale_tasks.lake.parts import PartFile, PartMeta
from kale_tasks.lake.storage.base import Storage

_THREADS = 64  # receipts are small: reading one is waiting for the store


@dataclass(frozen=True)
class Receipt:
    """The account of a finished part and its exact files: one for each table that got rows, and image shards."""

    meta: PartMeta
    files: Mapping[str, PartFile]
    shards: tuple[str, ...] = field(default=())

    def as_json(self) -> bytes:
        """Its text in the store."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "Receipt":
        """Read that text."""
        known = json.loads(text)
        files = {table: PartFile(**file) for table, file in known["files"].items()}
        return cls(PartMeta(**known["meta"]), files, tuple(known["shards"]))


def claim(storage: Storage, folder: str, receipt: Receipt) -> Receipt:
    """Claim a part number for these files. Returns the receipt that counts: another attempt may have been first."""
    path = _path(folder, receipt.meta.number)
    if storage.put_if(path, receipt.as_json(), None):
        return receipt
    return Receipt.from_json(storage.read(path))


def receipts(storage: Storage, folder: str, numbers: Collection[int] | None = None) -> dict[int, Receipt]:
    """Read the receipts of a run by part number; of these numbers only, if given.

    Those of a chunk are asked for one by one: a listing has the parts of all other chunks as well.
    """
    wanted = _listed(storage, folder) if numbers is None else sorted(numbers)
    with ThreadPoolExecutor(_THREADS) as pool:
        texts = pool.map(lambda number: _read(storage, _path(folder, number)), wanted)
        return {n: Receipt.from_json(text) for n, text in zip(wanted, texts, strict=True) if text is not None}


def unfinished(storage: Storage, folder: str, numbers: Sequence[int]) -> list[int]:
    """Those of some parts that are not finished."""
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(lambda number: storage.exists(_path(folder, number)), numbers)
        return [number for number, exists in zip(numbers, found, strict=True) if not exists]


def is_receipt(path: str) -> bool:
    """Whether a file in the folder of a run is a receipt."""
    return "/receipts/" in path


def withdraw(storage: Storage, folder: str, number: int) -> None:
    """Delete a receipt whose files are missing or damaged, so that the part is made again."""
    storage.delete(_path(folder, number))


def _path(folder: str, number: int) -> str:
    return f"{folder}/receipts/{number:05d}.json"


def _read(storage: Storage, path: str) -> bytes | None:
    try:
        return storage.read(path)
    except FileNotFoundError:
        return None


def _listed(storage: Storage, folder: str) -> list[int]:
    names = (entry.path.rpartition("/")[2] for entry in storage.entries(f"{folder}/receipts"))
    return sorted(int(name.removesuffix(".json")) for name in names if name.endswith(".json") and name[0].isdigit())
