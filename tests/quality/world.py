"""Clean tables of a key, and a step that commits them, optionally with defects."""

import io
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
from PIL import Image

from kale_tasks.contract.step import Input, Step, committed_input, part_span, row_chunks
from kale_tasks.contract.types import Chunk, Part, Quarantined
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import Settings, load

Row = dict[str, Any]
Rows = list[Row]
DENSE = "dense-0123456789ab"  # the pass of a recipe that describes images
STEPS = {"ingest": "pairs", "images": "images", DENSE: "texts", "fuse": "captions", "student": "captions"}
SLICES: dict[str, dict[str, Any]] = {
    DENSE: {"pass": DENSE},
    "fuse": {"recipe": "kale", "stage": 1},
    "student": {"recipe": "kale", "stage": 2},
    "distill": {"recipe": "kale"},
}
STUDENT = "0123456789abcdef"

_THINGS = [
    "bridge",
    "tower",
    "church",
    "boat",
    "lighthouse",
    "mill",
    "castle",
    "fountain",
    "statue",
    "station",
    "theatre",
    "garden",
    "harbour",
    "library",
]
_COLOURS = ["red", "white", "grey", "green", "blue", "yellow", "brown", "black", "golden", "silver", "pale", "dark"]
_PLACES = [
    "beside a river",
    "under a cloudy sky",
    "on a low hill",
    "between old houses",
    "at the edge of a forest",
    "near the sea",
]
_SIDES = ["people walk past it", "a bicycle leans on a wall", "two boats lie in front", "a flag hangs above the door"]


class Given(Step):
    """A step that commits given rows."""

    def __init__(
        self,
        step: str,
        rows: Rows,
        built_on: Sequence[tuple[str, Mapping[str, Any]]],
        dropped: int,
        quarantined: int = 0,
        detail: str = "",
    ) -> None:
        self.name, self.table = step, {**STEPS, "distill": "models"}[step]
        self.slice: Mapping[str, Any] = SLICES.get(step, {})
        self.rows, self.built_on, self.dropped, self.quarantined = rows, built_on, dropped, quarantined
        self.detail = detail  # of the rows in quarantine
        self.version = hash(str(rows))  # type: ignore[misc] # other rows, another run of the same settings

    def config(self, settings: Settings) -> Mapping[str, Any]:
        return {"part_rows": settings.parts.part_rows}

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        return {table: committed_input(lake, table, key, slice_) for table, slice_ in self.built_on}

    def chunks(self, run: Run) -> Sequence[Chunk]:
        return row_chunks(run.settings, max(1, len(self.rows)))

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        for number in numbers:
            start, stop = part_span(run.settings, chunk, number)
            rows = pa.Table.from_pylist(list(self.rows[start:stop]), schema=TABLES[self.table].arrow)
            gone = [
                Quarantined(f"{i:032x}", "broken", self.detail) for i in range(self.quarantined if number == 0 else 0)
            ]
            dropped = {"rule": self.dropped if number == 0 else 0}
            yield Part(number, rows, rows.num_rows + sum(dropped.values()) + len(gone), dropped, gone)


class World:
    """Clean tables of one key, random but reproducible."""

    def __init__(self, key: str, seed: int = 0, pairs: int = 300) -> None:
        self.key, self.draw = key, random.Random(f"{key}/{seed}")
        self.pairs: Rows = sorted((self._pair() for _ in range(pairs)), key=lambda row: str(row["uid"]))
        self.images: Rows = [self._image(row, i) for i, row in enumerate(self.pairs)]
        came = [(p, i) for p, i in zip(self.pairs, self.images, strict=True) if i["status"] == "ok"]
        self.dense: Rows = [self._dense(p) for p, _ in came if p["split"] == "stage1"]
        by_uid = {p["uid"]: p for p in self.pairs}
        self.stage1: Rows = [self._caption(by_uid[d["uid"]], d["text"], 1) for d in self.dense]
        self.stage2: Rows = [self._caption(p, self._scene(), 2) for p, _ in came if p["split"] == "stage2"]

    def rows_of(self, step: str) -> Rows:
        """Return the rows of a step."""
        return {
            "ingest": self.pairs,
            "images": self.images,
            DENSE: self.dense,
            "fuse": self.stage1,
            "student": self.stage2,
        }[step]

    def _pair(self) -> Row:
        draw = self.draw
        text = f"{self._name()} {draw.choice(_THINGS)} at {self._name()}, photographed in {draw.randint(1850, 2024)}"
        return {
            "uid": f"{draw.getrandbits(128):032x}",
            "key": self.key,
            "url": f"https://{draw.choice('abcdefgh')}.example.org/{draw.getrandbits(40):x}.jpg",
            "alt_text": text,
            "text": text,
            "width": draw.randint(200, 900),
            "height": draw.randint(200, 900),
            "sha256": f"{draw.getrandbits(256):064x}",
            "split": draw.choices(["stage1", "stage2", "holdout"], [45, 50, 5])[0],
            "dup_count": 1,
            "clip_b32": draw.uniform(0.1, 0.4),
        }

    def _image(self, pair: Row, number: int) -> Row:
        known = {"uid": pair["uid"], "key": self.key, "split": pair["split"]}
        if self.draw.random() < 0.2:
            reason = self.draw.choices(["http_404", "http_403", "timeout", "dns"], [60, 20, 15, 5])[0]
            return {**known, "status": "failed", "reason": reason}
        return {
            **known,
            "status": "ok",
            "shard": shard_path(self.key),
            "offset": number * _SLOT,
            "length": len(_picture(number)),
            "sha256": f"{self.draw.getrandbits(256):064x}",
            "sha256_matches": self.draw.random() > 0.14,
            "width": 16 + number % 7,
            "height": 12,
            "mime": "image/jpeg",
        }

    def _dense(self, pair: Row) -> Row:
        return {
            "uid": pair["uid"],
            "key": self.key,
            "pass": DENSE,
            "item": "",
            "n": 0,
            "text": self._scene(),
            "models": ["captioner@1"],
            **_WRITTEN,
            "tokens_out": self.draw.randint(20, 60),
        }

    def _caption(self, pair: Row, scene: str, stage: int) -> Row:
        used = self.draw.random() < 0.7
        return {
            "uid": pair["uid"],
            "key": self.key,
            "recipe": "kale",
            "stage": stage,
            "url": pair["url"],
            "sha256": pair["sha256"],
            "alt_text": pair["alt_text"],
            "dense_caption": scene if stage == 1 else None,
            "caption": f"{scene} This is {pair['alt_text'].split(',')[0]}." if used else scene,
            "models": ["captioner@1", "fuser@1"] if stage == 1 else [f"student@{STUDENT}"],
            **_WRITTEN,
            "tokens_out": self.draw.randint(30, 80),
            "facts": 3 if used else 1,
            "facts_from_alt": 2 if used else 0,
            "facts_from_dense": 1,
            "facts_invented": 0,
        }

    def _scene(self) -> str:
        draw = self.draw
        colour, thing, place, side = (draw.choice(of) for of in (_COLOURS, _THINGS, _PLACES, _SIDES))
        scene = f"A {colour} {thing} stands {place}, and {side}."
        if draw.random() < 0.2:
            return scene
        hand, colour, thing = (draw.choice(of) for of in (["left", "right"], _COLOURS, _THINGS))
        return f"{scene} To the {hand} is a {colour} {thing} with {draw.randint(2, 99)} windows."

    def _name(self) -> str:
        return "".join(self.draw.choices("abcdefghijklmnoprstuvz", k=self.draw.randint(4, 8))).title()


_WRITTEN = {
    "engine": "greedy",
    "prompt_hash": "abc",
    "tokens_in": 100,
    "finish_reason": "stop",
}
_SLOT = 2048


def shard_path(key: str) -> str:
    """Return the path of the shard of a key."""
    return f"images/key={key}/pictures.tar"


def _picture(number: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (16 + number % 7, 12), (number % 256, 90, 160)).save(out, "JPEG")
    return out.getvalue()


def open_world(folder: Path, **settings: Any) -> Lake:
    """Make an empty lake in a folder."""
    names = {
        "warehouse": str(folder / "lake"),
        "landing": str(folder / "landing"),
        "parts.part_rows": 100,
        "caption.recipe": "kale",
        **settings,
    }
    return Lake(load([f"{name}={value}" for name, value in names.items()], environ={}).settings)


def given(lake: Lake, world: World, step: str, spoil: Callable[[Rows], Rows] = lambda rows: rows, **what: Any) -> Given:
    """Make a step that commits the rows of a world after `spoil` has changed them."""
    inputs: dict[str, list[tuple[str, Mapping[str, Any]]]] = {
        "ingest": [],
        "images": [("pairs", {})],
        DENSE: [("images", {})],
        "fuse": [("images", {}), ("pairs", {})],
        "student": [("images", {})],
    }
    rows = spoil([dict(row) for row in world.rows_of(step)])
    if step == "images":
        pictures = b"".join(_picture(i).ljust(_SLOT, b"\0") for i in range(len(world.pairs)))
        lake.storage.put(shard_path(world.key), pictures)
    read = {"ingest": len(rows) + 40, "images": len(world.pairs), DENSE: len(world.images)}
    read |= {"fuse": len(world.images), "student": len(world.images)}
    known = {"built_on": inputs[step], "dropped": max(0, read[step] - len(rows)), **what}
    return Given(step, rows, **known)


def commit(lake: Lake, world: World, step: str, spoil: Callable[[Rows], Rows] = lambda rows: rows, **what: Any) -> None:
    """Commit the rows of one step after `spoil` has changed them; they are not checked."""
    execute(Run(cast("Step", given(lake, world, step, spoil, **what)), lake, lake.settings, world.key))


def commit_student(lake: Lake, *others: str, **more: Any) -> None:
    """Register the student that wrote the captions of stage 2, and others like it; `more` are other columns."""
    metrics = {"student": {"facts_invented_share": 0.01}, "teacher": {"facts_invented_share": 0.0}}
    known = {
        "key": "all", "base": "small@1", "recipe": "kale", "rows": 9, "steps": 3, "accepted": True,
        "verdict": "Good enough.", "code": "1", "parents": "{}", "config": "{}", "metrics": json.dumps(metrics),
        "files": "{}", **more,
    }  # fmt: skip
    rows = [{"version": version, "path": f"students/{version}", **known} for version in (STUDENT, *others)]
    for row in rows:
        lake.storage.put(f"{row['path']}/loss.svg", b'<svg xmlns="http://www.w3.org/2000/svg"/>')
    execute(Run(cast("Step", Given("distill", rows, [], 0)), lake, lake.settings, "all"))


def commit_all(lake: Lake, world: World, until: str = "student") -> None:
    """Commit all steps up to one."""
    for step in STEPS:
        commit(lake, world, step)
        if step == until:
            return
