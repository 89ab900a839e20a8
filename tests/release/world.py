"""A small, fast pipeline for tests of releases: pairs, images in tars, and captions of both stages."""

import hashlib
import io
import tarfile
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

import pyarrow as pa
from PIL import Image

from kale_tasks.contract.step import Input, Step, committed_input, part_span, row_chunks
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.lake.tombstones import Matcher, matcher
from kale_tasks.release.step import Release
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import Settings

MODELS = {1: ["captioner@1", "fuser@1"], 2: ["student@1"]}


def uid(key: str, number: int) -> str:
    return hashlib.sha256(f"{key} {number}".encode()).hexdigest()[:32]


@cache
def _jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(buffer, "JPEG")
    return buffer.getvalue()


def image(name: str) -> bytes:
    """Return a JPEG whose last bytes occur nowhere else."""
    return _jpeg() + f"pixels of {name}".encode()


class Ingest(Step):
    """Made-up pairs, sorted by uid, without those of takedowns; every fifth is for stage 2."""

    name: ClassVar[str] = "ingest"
    table: ClassVar[str] = "pairs"
    also: ClassVar[tuple[str, ...]] = ("dedup_index",)

    def __init__(self, rows: int, salt: Mapping[str, str] | None = None) -> None:
        self.rows, self.salt = rows, salt or {}

    def config(self, settings: Settings) -> Mapping[str, Any]:
        return {"rows": self.rows}

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        return {"landing": self.salt.get(key, "")}

    def chunks(self, run: Run) -> Sequence[Chunk]:
        return row_chunks(run.settings, self.rows)

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        uids = sorted(uid(run.key, n) for n in range(self.rows))
        removal = self._takedowns(run)
        for number in numbers:
            start, stop = part_span(run.settings, chunk, number)
            rows = pa.Table.from_pylist([self._row(run.key, name) for name in uids[start:stop]])
            hit = removal.matches(rows)
            rows = rows.filter(pa.compute.invert(hit))
            index = [
                {"uid": u, "key": run.key, "kind": "uid", "hash": int(u[:15], 16)} for u in rows["uid"].to_pylist()
            ]
            yield Part(
                number,
                rows,
                stop - start,
                {"takedown": stop - start - rows.num_rows},
                also={"dedup_index": pa.Table.from_pylist(index)},
            )

    def _takedowns(self, run: Run) -> Matcher:
        return matcher(run.lake)

    def _row(self, key: str, name: str) -> dict[str, Any]:
        return {
            "uid": name, "key": key, "url": f"https://host{name[0]}.example/{name}.jpg",
            "alt_text": f"Picture {name} by {self.salt.get(key, '')}Ann",
            "text": f"Picture {name} by Ann", "split": "stage2" if name[1] in "012" else "stage1",
        }  # fmt: skip


class _Mapped(Step):
    """Base of the steps after ingest."""

    name: ClassVar[str]
    table: ClassVar[str]
    of: ClassVar[str]

    def config(self, settings: Settings) -> Mapping[str, Any]:
        return {}

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        return {name: committed_input(lake, name, key) for name in dict.fromkeys((self.of, "pairs"))}

    def chunks(self, run: Run) -> Sequence[Chunk]:
        return row_chunks(run.settings, run.rows(self.of).count)

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        rows = run.rows(self.of)
        for number in numbers:
            start, stop = part_span(run.settings, chunk, number)
            found = rows.read(start, stop).to_pylist()
            made = self.made(run, number, found)
            table = pa.Table.from_pylist(made) if made else pa.table({})
            yield Part(number, table, len(found), {"other_stage": len(found) - len(made)})

    @abstractmethod
    def made(self, run: Run, number: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the rows of a part, made from those read."""


class Tars(_Mapped):
    """One tar for each part."""

    name: ClassVar[str] = "images"
    table: ClassVar[str] = "images"
    of: ClassVar[str] = "pairs"

    def made(self, run: Run, number: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        buffer, made = io.BytesIO(), []
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for row in rows:
                info = tarfile.TarInfo(f"{row['uid']}.jpg")
                data = image(row["uid"])
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
                made.append(
                    {"uid": row["uid"], "key": run.key, "status": "ok", "length": len(data),
                     "sha256": hashlib.sha256(data).hexdigest(), "split": row["split"]}
                )  # fmt: skip
        shard = f"{run.folder}/{number:05d}-{hashlib.sha256(buffer.getvalue()).hexdigest()[:16]}.tar"
        run.lake.storage.put(shard, buffer.getvalue())
        buffer.seek(0)
        with tarfile.open(fileobj=buffer) as tar:
            places = {member.name.removesuffix(".jpg"): member.offset_data for member in tar}
        return [{**row, "shard": shard, "offset": places[row["uid"]]} for row in made]


class Fuse(_Mapped):
    """Captions of stage 1."""

    name: ClassVar[str] = "fuse"
    table: ClassVar[str] = "captions"
    slice: ClassVar[Mapping[str, Any]] = {"recipe": "kale", "stage": 1}
    of: ClassVar[str] = "images"

    def made(self, run: Run, number: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        stage = self.slice["stage"]
        pairs = run.rows("pairs").between(rows[0]["uid"], rows[-1]["uid"], ["url", "alt_text"]).to_pylist()
        known = {pair["uid"]: pair for pair in pairs}
        return [
            {
                "uid": row["uid"], "key": run.key, "stage": stage, "sha256": row["sha256"], **known[row["uid"]],
                "dense_caption": f"A thing on {row['uid'][:2]} fields. It is blue." if stage == 1 else None,
                "caption": f"{known[row['uid']]['alt_text']} shows a thing on fields. It is blue, and seen from afar.",
                "recipe": "kale", "models": MODELS[stage], "prompt_hash": "p1",
                "flags": ["short"] if row["uid"][0] == "0" else [],
                "facts": 2, "facts_from_alt": 1, "facts_from_dense": 1, "facts_invented": 0,
            }
            for row in rows
            if row["split"] == f"stage{stage}"
        ]  # fmt: skip


class Student(Fuse):
    """Captions of stage 2."""

    name: ClassVar[str] = "student"
    slice: ClassVar[Mapping[str, Any]] = {"recipe": "kale", "stage": 2}


def pipeline(rows: int, salt: Mapping[str, str] | None = None) -> list[Step]:
    """Return every step up to the captions, in order."""
    return [Ingest(rows, salt), Tars(), Fuse(), Student()]


def fill(lake: Lake, settings: Settings, keys: Sequence[str], rows: int, salt: Mapping[str, str] | None = None) -> None:
    """Run the pipeline on some keys."""
    for key in keys:
        for step in pipeline(rows, salt):
            execute(Run(step, lake, settings, key))


def release(lake: Lake, settings: Settings, key: str) -> Committed:
    """Build the release of all keys up to this one."""
    return execute(Run(Release(), lake, settings, key))
