"""WebDataset shards: written byte for byte the same from the same images, read as they stand."""

import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

_BLOCK = 512
_JSON_AT_MOST = 1 << 20


class Member(NamedTuple):
    """An image in a foreign tar: what its JSON says and where its bytes are."""

    told: Mapping[str, Any]
    offset: int
    length: int


def write_shard(path: Path, images: Iterable[tuple[str, bytes, Mapping[str, Any]]]) -> dict[str, tuple[int, int]]:
    """Write `<uid>.jpg` and `<uid>.json` for each image; answers with the offset and length of each."""
    places = {}
    with path.open("wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for uid, image, told in images:
            places[uid] = (file.tell() + _BLOCK, len(image))
            _add(tar, f"{uid}.jpg", image)
            _add(tar, f"{uid}.json", json.dumps(told, ensure_ascii=False, sort_keys=True).encode())
    return places


def read_members(file: BinaryIO) -> Iterator[Member]:
    """The images of an img2dataset tar; ends with tarfile.TarError or OSError where the tar is broken."""
    stem, place, told = "", None, None
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            name, _, suffix = member.name.rpartition(".")
            if name != stem:
                stem, place, told = name, None, None
            if suffix in ("jpg", "jpeg", "png", "webp") and member.isreg():
                place = (member.offset_data, member.size)
            elif suffix == "json" and member.size <= _JSON_AT_MOST and (content := tar.extractfile(member)):
                told = _told(content.read())
            if place and told is not None:
                yield Member(told, *place)
                place = told = None
        file.seek(tar.offset)
        if not file.read(1):
            raise tarfile.ReadError("it ends too early")  # a whole tar ends with empty blocks


def _told(text: bytes) -> Mapping[str, Any]:
    try:
        told = json.loads(text)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, BytesIO(content))
