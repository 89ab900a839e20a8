"""Landing files of the sample world: metadata as data sets publish it, images as tars, and the truth beside them."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from kale_tasks.world.describe import attributes, dense, fused
from kale_tasks.world.draw import SIDE
from kale_tasks.world.metadata import FORMATS, Row
from kale_tasks.world.scene import Facts
from kale_tasks.world.world import EVALUATION, EVALUATION_ITEMS, Pair, World, key_name, uid

Images = Literal["tar", "web"]
ELSEWHERE = "http://photos-{host}.example"  # a name that no resolver knows
HOSTS = 8
FILE_ROWS = 10_000
_BATCH = 500

_TEXT = pa.string()
TRUTH = pa.schema(
    {name: _TEXT for name in ("uid", "key", "url", "sha256", "role", "cluster", "fate", "alt_kind", "dense", "caption")}
    | {name: _TEXT for name in ("name", "place", "year", "maker", "fault", "outcome")}
    | {"told": pa.list_(_TEXT), "attributes": pa.map_(_TEXT, _TEXT)}
)
EVALUATION_SET = pa.schema({"id": _TEXT, "text": _TEXT, "sha256": _TEXT, "image": pa.binary()})


@dataclass(frozen=True)
class Sample:
    """What to write: a world, how many pairs over how many keys, and in which shape."""

    pairs: int
    keys: int = 3
    seed: int = 0
    format: str = "datacomp"
    images: Images = "tar"
    web_url: str = ELSEWHERE

    @property
    def world(self) -> World:
        """The world that the pairs come from."""
        return World(self.seed)

    def rows_of(self, number: int) -> int:
        """How many pairs the key with this number has: keys differ by one at most, the first are the longer."""
        return self.pairs // self.keys + (number < self.pairs % self.keys)

    def url(self, pair: Pair) -> str:
        """The address of a pair's picture; `{host}` in the web's address stands for 1 to 8."""
        base = self.web_url.replace("{host}", str(pair.index % HOSTS + 1)).rstrip("/")
        return f"{base}/{pair.fault.name}/{self.seed}/{pair.key}/{pair.index:08}.jpg"


def write_sample(sample: Sample, out: Path) -> Iterator[int]:
    """Writes landing files, truth and evaluation set under `out`; yields the number of pairs written so far."""
    _write_evaluation(sample.world, out / "_eval")
    written = 0
    for number in range(sample.keys):
        for rows in _write_key(sample, out, key_name(number), sample.rows_of(number)):
            written += rows
            yield written


def _write_key(sample: Sample, out: Path, key: str, rows: int) -> Iterator[int]:
    (out / key).mkdir(parents=True, exist_ok=True)
    (out / "_truth").mkdir(exist_ok=True)
    with pq.ParquetWriter(out / "_truth" / f"{key}.parquet", TRUTH) as truth:
        for file_number, start in enumerate(range(0, rows, FILE_ROWS)):
            stem = out / key / f"{file_number:08}"
            stop = min(start + FILE_ROWS, rows)
            for batch in _write_file(sample, stem, (sample.world.pair(key, i) for i in range(start, stop))):
                truth.write_table(pa.Table.from_pylist([_truth(*entry) for entry in batch], TRUTH))
                yield len(batch)


def _write_file(sample: Sample, stem: Path, pairs: Iterator[Pair]) -> Iterator[list[tuple[Pair, Row]]]:
    """Writes one metadata file, and its tar of images if wanted; yields each batch once it is written."""
    with ExitStack() as stack:
        write = stack.enter_context(FORMATS[sample.format](stem))
        tar = stack.enter_context(tarfile.open(f"{stem}.tar", "w")) if sample.images == "tar" else None
        tar_keys = (f"{stem.name[3:]}{number:04}" for number in count())
        while batch := list(islice(pairs, _BATCH)):
            entries = [(pair, _row(sample, pair)) for pair in batch]
            write([row for _, row in entries])
            for (pair, row), tar_key in zip(entries, tar_keys, strict=False):
                if tar and pair.fault.outcome == "ok":  # the others could not be downloaded
                    image = sample.world.image(pair, changed=pair.fault.name == "changed")
                    _add(tar, tar_key, image, row)
            yield entries


def _row(sample: Sample, pair: Pair) -> Row:
    url, text = sample.url(pair), pair.alt.text
    return Row(
        uid=uid(url, text),
        url=url,
        text=text,
        original_width=SIDE,
        original_height=SIDE,
        clip_b32_similarity_score=pair.clip,
        clip_l14_similarity_score=round(pair.clip - 0.05, 4),
        face_bboxes=[],
        sha256=hashlib.sha256(sample.world.image(pair)).hexdigest(),
    )


def _truth(pair: Pair, row: Row) -> dict[str, Any]:
    return {
        "uid": row.uid,
        "key": pair.key,
        "url": row.url,
        "sha256": row.sha256,
        "role": pair.role,
        "cluster": pair.cluster,
        "fate": pair.fate,
        "alt_kind": pair.alt.kind,
        "dense": dense(pair.scene),
        "caption": fused(pair.scene, pair.alt.facts),
        **asdict(pair.facts),
        "told": _told(pair.alt.facts),
        "attributes": list(attributes(pair.scene).items()),
        "fault": pair.fault.name,
        "outcome": pair.fault.outcome,
    }


def _told(facts: Facts) -> list[str]:
    return [name for name, value in asdict(facts).items() if value]


def _add(tar: tarfile.TarFile, tar_key: str, image: bytes, row: Row) -> None:
    """Adds one image as img2dataset does; the tar's key follows from where the row stands and joins nothing."""
    told = {"key": tar_key, "status": "success", "error_message": None, "width": SIDE, "height": SIDE}
    beside = json.dumps(asdict(row) | told, ensure_ascii=False)
    for suffix, content in (("jpg", image), ("txt", row.text.encode()), ("json", beside.encode())):
        member = tarfile.TarInfo(f"{tar_key}.{suffix}")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))


def _write_evaluation(world: World, folder: Path) -> None:
    """The items of an evaluation set, some of which are planted among the pairs."""
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for number in range(EVALUATION_ITEMS):
        pair = world.pair(EVALUATION, number)
        image = world.image(pair)
        sha256 = hashlib.sha256(image).hexdigest()
        items.append({"id": f"{EVALUATION}-{number}", "text": pair.alt.text, "sha256": sha256, "image": image})
    pq.write_table(pa.Table.from_pylist(items, EVALUATION_SET), folder / "evaluation.parquet")
