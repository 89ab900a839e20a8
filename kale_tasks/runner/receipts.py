"""Receipts: the first attempt that finishes a part claims its number; what later attempts wrote is never used."""

import json
from collections.abc import Collection, Iterable, Mapping
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
    """Read the receipts of a run by part number; of these numbers only, if given."""
    found = receipt_numbers(storage, folder)
    wanted = [number for number in found if numbers is None or number in numbers]
    with ThreadPoolExecutor(_THREADS) as pool:
        texts = pool.map(lambda number: storage.read(_path(folder, number)), wanted)
        return {number: Receipt.from_json(text) for number, text in zip(wanted, texts, strict=True)}


def receipt_numbers(storage: Storage, folder: str) -> list[int]:
    """The numbers of the parts that are finished, from a listing."""
    return sorted(_numbers(entry.path for entry in storage.entries(f"{folder}/receipts")))


def is_receipt(path: str) -> bool:
    """Whether a file in the folder of a run is a receipt."""
    return "/receipts/" in path


def withdraw(storage: Storage, folder: str, number: int) -> None:
    """Delete a receipt whose files are missing or damaged, so that the part is made again."""
    storage.delete(_path(folder, number))


def _path(folder: str, number: int) -> str:
    return f"{folder}/receipts/{number:05d}.json"


def _numbers(paths: Iterable[str]) -> Iterable[int]:
    names = (path.rpartition("/")[2] for path in paths)
    return (int(name.removesuffix(".json")) for name in names if name.endswith(".json") and name[0].isdigit())
