"""The promoted student, published as a model."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from kale_tasks.contract.step import Input, Step
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.errors import BadConfig, Conflict
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.tables import Lake
from kale_tasks.models import students as registry
from kale_tasks.progress import Silent
from kale_tasks.release.publish import publish_student
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import Settings
from tests.hub.server import HubServer
from tests.kale import kale
from tests.release.conftest import World, world

FILES = {"config.json": b'{"model_type": "llava"}', "model.safetensors": bytes(range(256)) * 100}
VERSION = "0123456789abcdef"


class Distill(Step):
    """Registers a student of two files."""

    name: ClassVar[str] = "distill"
    table: ClassVar[str] = "models"
    slice: ClassVar[Mapping[str, Any]] = {"recipe": "kale"}
    keep: ClassVar[bool] = True

    def config(self, settings: Settings) -> Mapping[str, Any]:
        return {}

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        return {}

    def chunks(self, run: Run) -> Sequence[Chunk]:
        return [Chunk(index=0, first_part=0, parts=1, stop=1)]

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        for name, data in FILES.items():
            run.lake.storage.put(f"students/{VERSION}/{name}", data)
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()}
        row = {
            "version": VERSION, "key": run.key, "path": f"students/{VERSION}", "base": "small@1", "recipe": "kale",
            "rows": 9, "steps": 3, "accepted": True, "verdict": "Better.", "code": "1", "parents": "{}", "config": "{}",
            "metrics": json.dumps({"facts": 0.9}), "files": json.dumps(hashes),
        }  # fmt: skip
        yield Part(0, pa.Table.from_pylist([row]), 1)


@pytest.fixture
def it(tmp_path: Path, request: pytest.FixtureRequest) -> World:
    made = world("folder", tmp_path, request, "publish.model_target=hf://someone/student")
    execute(Run(Distill(), made.lake, made.settings, "all"))
    return made


def test_a_student_goes_to_the_hub_with_a_card(it: World, hub: HubServer) -> None:
    registry.promote(it.lake, VERSION, "it is better")
    publish_student(it.lake, it.settings, Silent())
    repo = hub.repo("models/someone/student")
    assert {name: repo.read(repo.head.files[name]) for name in FILES} == FILES
    card = repo.read(repo.head.files["README.md"]).decode()
    assert "`small@1`" in card and '"facts": 0.9' in card and repo.tags[VERSION] == repo.head.oid
    again = kale("publish", "--student", "--json", sets=it.sets)
    assert again.json["address"].endswith(f"someone/student/tree/{repo.head.oid}") and len(repo.commits) == 2


def test_without_a_promoted_student_publishing_is_a_conflict(it: World, hub: HubServer) -> None:
    with pytest.raises(Conflict, match="Run distill first"):
        publish_student(it.lake, it.settings, Silent())


def test_without_a_target_publishing_is_refused(it: World) -> None:
    with pytest.raises(BadConfig, match=r"publish\.model_target"):
        publish_student(it.lake, it.with_("publish.model_target=null").settings, Silent())
