"""The examples of training run for 20 steps on what a release and an export have."""

import json
import runpy
from collections import Counter
from collections.abc import Iterator, Mapping
from io import BytesIO
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.world.models import CHECKPOINTS
from tests.kale import kale
from tests.release import world as pictures
from tests.release.conftest import World, world
from tests.release.world import Fuse

EXAMPLES = Path(__file__).parents[2] / "examples" / "training"
COLOURS = {"red": (200, 20, 20), "green": (20, 160, 40), "blue": (30, 40, 200), "white": (245, 245, 245)}
WEIGHTS = {"caption": 0.5, "alt_text": 0.3, "dense_caption": 0.1, "short": 0.1}


def colour_of(uid: str) -> str:
    return Random(uid).choice(list(COLOURS))


def picture(uid: str) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (32, 32), COLOURS[colour_of(uid)]).save(buffer, "PNG")
    return buffer.getvalue()


class Colours(Fuse):
    """Captions, and a short text beside, that name the colour of the picture."""

    def made(self, run: Run, number: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {**row, "alt_text": f"{colour_of(row['uid'])} square", "dense_caption": f"A {colour_of(row['uid'])} plane.",
             "caption": f"A square that is {colour_of(row['uid'])}.",
             "also": json.dumps({"short": colour_of(row["uid"]).title()})}
            for row in super().made(run, number, rows)
        ]  # fmt: skip


class Second(Colours):
    name = "student"
    slice: Mapping[str, Any] = {"recipe": "kale", "stage": 2}  # type: ignore[misc]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny models lose by more
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> World:
    """A published release of 120 coloured squares."""
    folder = tmp_path_factory.mktemp("training")
    made = world("folder", folder, request, f"publish.target={folder / 'out'}", "publish.formats=[images]",
                 "parts.part_rows=120", "parts.chunk_rows=120")  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "image", picture)
        made.fill("a")
    for step in (Colours(), Second()):
        execute(Run(step, made.lake, made.settings, "a", again="request"))
    made.release("a")
    made.publish("a")
    return made


def example(name: str) -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


def test_a_clip_learns_in_20_steps_from_texts_that_are_drawn_by_weight(
    it: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    losses = example("clip")["train"](str(it.settings.publish.target), WEIGHTS, 20)
    assert len(losses) == 20 and sum(losses[-4:]) < 0.9 * sum(losses[:4])


def test_each_text_is_drawn_as_often_as_its_weight_says(it: World) -> None:
    module = example("clip")
    rows = [{**row, "image": None} for row in it.lake.arrow("captions", "a").to_pylist()]
    pairs = islice(module["drawn"](rows, WEIGHTS), 12_000)
    counted = Counter(kind(text) for _, text in pairs)
    assert all(abs(counted[name] / 12_000 - weight) < 0.02 for name, weight in WEIGHTS.items()), counted
    assert module["texts_of"]({"caption": "x", "alt_text": None}, WEIGHTS) == {"x": 0.5}, "a missing text is not drawn"


def kind(text: str) -> str:
    words = {"A square that is": "caption", "A": "dense_caption"}
    start = next((name for start, name in words.items() if text.startswith(f"{start} ")), "")
    return start or ("alt_text" if text.endswith(" square") else "short")


def test_texts_are_cut_at_what_clip_reads() -> None:
    tokens = example("clip")["tokens"]
    assert len(tokens("word " * 500)) == 77 and tokens("a a")[1:3] == [tokens("a")[1]] * 2


def lessons(it: World, kind: str, out: Path) -> Path:
    """Export the conversations of the key."""
    answer = kale("export", kind, "--key", "a", "--out", str(out), sets=it.sets)
    assert answer.code == 0, answer.err
    return out


FILES = [("sft", "lessons.jsonl"), ("llava", "lessons.json")]


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_a_model_learns_in_20_steps_from_exported_conversations(
    it: World, kind: str, name: str, tmp_path: Path
) -> None:
    losses = example("sft")["train"](lessons(it, kind, tmp_path / name), str(CHECKPOINTS / "base"), 20)
    assert len(losses) == 20 and sum(losses[-4:]) < 0.5 * sum(losses[:4])


def test_both_files_give_the_same_tensors_and_only_answers_are_learnt(it: World, tmp_path: Path) -> None:
    module, processor = example("sft"), AutoProcessor.from_pretrained(str(CHECKPOINTS / "base"))
    made = []
    for kind, name in FILES:
        rows = list(module["conversations"](lessons(it, kind, tmp_path / name)))[:5]
        made.append(module["tensors"](processor, rows))
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])
    captions = {row["uid"]: row["caption"] for row in it.lake.arrow("captions", "a").to_pylist()}
    learnt = [processor.tokenizer.decode(row[row >= 0]) for row in made[0]["labels"]]
    asked = [json.loads(line)["id"] for line in (tmp_path / "lessons.jsonl").read_text().splitlines()[:5]]
    assert learnt == [f"{captions[uid]}<|end|>" for uid in asked]
