"""Writes landing files of the sample world: metadata as data sets publish it, images in tars, and the truth."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from kale_tasks.lake.keys import MARKER
from kale_tasks.lake.shards import TarWriter
from kale_tasks.world.alttext import write_alt
from kale_tasks.world.describe import attributes, dense, fused
from kale_tasks.world.draw import SIDE, draw, jpeg
from kale_tasks.world.metadata import FORMATS, Row
from kale_tasks.world.scene import make_facts, make_scene
from kale_tasks.world.world import EVALUATION, EVALUATION_ITEMS, Pair, World, key_name, uid

Images = Literal["tar", "web"]
NOWHERE = "http://photos-{host}.example"  # a host name that does not resolve
HOSTS = 8
FILE_ROWS = 10_000
_BATCH = 500

_TEXT = pa.string()
TRUTH = pa.schema(
    {
        name: _TEXT
        for name in ("uid", "key", "url", "sha256", "role", "cluster", "expected", "alt_kind", "dense", "caption")
    }
    | {name: _TEXT for name in ("name", "place", "year", "maker", "fault", "outcome")}
    | {"alt_facts": pa.list_(_TEXT), "attributes": pa.map_(_TEXT, _TEXT)}
)
EVALUATION_SET = pa.schema({"id": _TEXT, "text": _TEXT, "sha256": _TEXT, "image": pa.binary()})


@dataclass(frozen=True)
class WorldSample:
    """What to write: how many pairs of which world, over how many keys, in which format."""

    pairs: int
    keys: int = 3
    seed: int = 0
    format: str = "datacomp"
    images: Images = "tar"
    web_url: str = NOWHERE

    @property
    def world(self) -> World:
        """The world from which the pairs are taken."""
        return World(self.seed)

    def rows_of(self, number: int) -> int:
        """Return how many pairs the key with this number has. Counts differ by at most one, larger ones first."""
        return self.pairs // self.keys + (number < self.pairs % self.keys)

    def url(self, pair: Pair) -> str:
        """Return the URL of a pair's image. `{host}` in `web_url` is replaced by a number from 1 to 8."""
        base = self.web_url.replace("{host}", str(pair.index % HOSTS + 1)).rstrip("/")
        return f"{base}/{pair.fault.name}/{self.seed}/{pair.key}/{pair.index:08}.jpg"


def write_sample(sample: WorldSample, out: Path) -> Iterator[int]:
    """Write landing files, truth and evaluation set to `out`, yielding the number of pairs written so far."""
    _write_evaluation(sample.world, out / "_eval")
    written = 0
    for number in range(sample.keys):
        for rows in _write_key(sample, out, key_name(number), sample.rows_of(number)):
            written += rows
            yield written


def write_landing(landing: Path, keys: int, pairs: int, web_url: str | None = None) -> list[str]:
    """Write `pairs` pairs for each of `keys` keys, mark the keys as complete, and return their names.

    The images are on the sample web at `web_url`, or in tars without one. A landing folder that holds the same sample
    already is left alone.
    """
    names = [key_name(number) for number in range(keys)]
    sample = WorldSample(pairs * keys, keys, images="web" if web_url else "tar", web_url=web_url or NOWHERE)
    record, content = landing / "_sample.json", json.dumps(asdict(sample))
    if not record.exists() or record.read_text() != content:
        for _ in write_sample(sample, landing):
            pass
        for key in names:
            (landing / key / MARKER).touch()
        record.write_text(content)
    return names


def write_pictures(folder: Path, number: int, seed: int = 0) -> list[str]:
    """Write pictures with their alt-texts beside them, as people have them, and return the alt-texts."""
    rng, texts = Random(f"pictures {seed}"), []
    folder.mkdir(parents=True, exist_ok=True)
    for at in range(number):
        scene, facts = make_scene(rng), make_facts(rng, 0.0)
        texts.append(write_alt(rng, "full", scene, facts).text)
        folder.joinpath(f"picture-{at:02d}.jpg").write_bytes(jpeg(draw(scene)))
        folder.joinpath(f"picture-{at:02d}.txt").write_text(texts[-1], "utf-8")
    return texts


def _write_key(sample: WorldSample, out: Path, key: str, rows: int) -> Iterator[int]:
    (out / key).mkdir(parents=True, exist_ok=True)
    (out / "_truth").mkdir(exist_ok=True)
    with pq.ParquetWriter(out / "_truth" / f"{key}.parquet", TRUTH) as truth:
        for file_number, start in enumerate(range(0, rows, FILE_ROWS)):
            stem = out / key / f"{file_number:08}"
            stop = min(start + FILE_ROWS, rows)
            for batch in _write_file(sample, stem, (sample.world.pair(key, i) for i in range(start, stop))):
                truth.write_table(pa.Table.from_pylist([_truth(*entry) for entry in batch], TRUTH))
                yield len(batch)


def _write_file(sample: WorldSample, stem: Path, pairs: Iterator[Pair]) -> Iterator[list[tuple[Pair, Row]]]:
    """Write one metadata file, and its tar of images if requested, yielding each batch once it is written."""
    with ExitStack() as stack:
        write = stack.enter_context(FORMATS[sample.format](stem))
        tar = stack.enter_context(TarWriter(Path(f"{stem}.tar"))) if sample.images == "tar" else None
        tar_keys = (f"{stem.name[3:]}{number:04}" for number in count())
        while batch := list(islice(pairs, _BATCH)):
            entries = [(pair, _row(sample, pair)) for pair in batch]
            write([row for _, row in entries])
            for (pair, row), tar_key in zip(entries, tar_keys, strict=False):
                if tar and pair.fault.outcome == "ok":  # the others cannot be downloaded
                    image = sample.world.image(pair, changed=pair.fault.name == "changed")
                    _add(tar, tar_key, image, row)
            yield entries


def _row(sample: WorldSample, pair: Pair) -> Row:
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
        "expected": pair.expected,
        "alt_kind": pair.alt.kind,
        "dense": dense(pair.scene),
        "caption": fused(pair.scene, pair.alt.facts),
        **asdict(pair.facts),
        "alt_facts": [name for name, value in asdict(pair.alt.facts).items() if value],
        "attributes": list(attributes(pair.scene).items()),
        "fault": pair.fault.name,
        "outcome": pair.fault.outcome,
    }


def _add(tar: TarWriter, tar_key: str, image: bytes, row: Row) -> None:
    """Add one image the way img2dataset does. The tar's own key is the position of the row and joins with nothing."""
    status = {"key": tar_key, "status": "success", "error_message": None, "width": SIDE, "height": SIDE}
    metadata = json.dumps(asdict(row) | status, ensure_ascii=False)
    for suffix, content in (("jpg", image), ("txt", row.text.encode()), ("json", metadata.encode())):
        tar.add(f"{tar_key}.{suffix}", content)


def _write_evaluation(world: World, folder: Path) -> None:
    """Write the items of an evaluation set. Some of them are planted among the pairs."""
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for number in range(EVALUATION_ITEMS):
        pair = world.pair(EVALUATION, number)
        image = world.image(pair)
        sha256 = hashlib.sha256(image).hexdigest()
        items.append({"id": f"{EVALUATION}-{number}", "text": pair.alt.text, "sha256": sha256, "image": image})
    pq.write_table(pa.Table.from_pylist(items, EVALUATION_SET), folder / "evaluation.parquet")
