"""Figures of the tiny models on scenes that no training saw, judged against the truth."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import yaml

from kale_tasks.world.alttext import AltText, make_kind, write_alt
from kale_tasks.world.describe import attributes, dense, fused, read
from kale_tasks.world.draw import draw, jpeg
from kale_tasks.world.models.examples import Message, describing, fuse_messages, joining_messages
from kale_tasks.world.models.generate import answers
from kale_tasks.world.scene import Facts, Scene, make_facts, make_scene

UNSEEN = "measure"  # seeds every dice here; training throws its own


def measure_teacher(folder: Path, scenes: int) -> dict[str, float]:
    """How many visible attributes the teacher names rightly and how many it invents."""
    rng = Random(f"{UNSEEN} teacher")
    examples = [describing(rng) for _ in range(scenes)]
    said = _said_of_pictures(folder, [example.messages for example in examples], [e.scene for e in examples])
    count: Counter[str] = Counter()
    for example, caption in zip(examples, said, strict=True):
        truth, claimed = attributes(example.scene), read(caption).attributes
        count["attributes"] += len(truth)
        count["right"] += len(truth.items() & claimed.items())
        count["invented"] += len(claimed.keys() - truth.keys())
        count["faultless"] += caption == example.answer
    return {
        "scenes": scenes,
        "attributes right": _share(count["right"], count["attributes"]),
        "attributes invented": _share(count["invented"], count["attributes"]),
        "faultless": _share(count["faultless"], scenes),
    }


def measure_fuser(folder: Path, scenes: int) -> dict[str, float]:
    """What the fuser does with facts and with noise; a fact with one wrong letter is both lost and invented."""
    drawn = _told(scenes)
    return _joined(drawn, _fused(folder, [(dense(scene), alt.text) for scene, alt in drawn]))


def measure_base(folder: Path, scenes: int) -> dict[str, float]:
    """The same of the base, which has the picture before it as well."""
    drawn = _told(scenes)
    asked = [joining_messages(dense(scene), alt.text) for scene, alt in drawn]
    return _joined(drawn, _said_of_pictures(folder, asked, [scene for scene, _ in drawn]))


def measure_real_names(folder: Path) -> dict[str, float]:
    """Share of sixty names of the real world that the fuser copies letter by letter."""
    rng = Random(f"{UNSEEN} names")
    works = [Facts(*row) for row in yaml.safe_load(Path(__file__).with_name("real_names.yaml").read_text())]
    scenes = [make_scene(rng) for _ in works]
    asked = [(dense(s), write_alt(rng, "full", s, work).text) for s, work in zip(scenes, works, strict=True)]
    said = _fused(folder, asked)
    names = [name for work in works for name in (work.name, work.place, work.maker)]
    heard = [caption for caption in said for _ in range(3)]
    return {"names": len(names), "copied": _share(sum(n in c for n, c in zip(names, heard, strict=True)), len(names))}


def _told(scenes: int) -> list[tuple[Scene, AltText]]:
    rng = Random(f"{UNSEEN} fuser")
    return [(scene := make_scene(rng), write_alt(rng, make_kind(rng), scene, make_facts(rng))) for _ in range(scenes)]


def _joined(drawn: Sequence[tuple[Scene, AltText]], said: Iterable[str]) -> dict[str, float]:
    count: Counter[str] = Counter()
    for (scene, alt), caption in zip(drawn, said, strict=True):
        told, claims = _known(alt.facts), read(caption)
        claimed = _known(claims.facts)
        count["told"] += len(told)
        count["carried"] += len(told & claimed)
        count["claimed"] += len(claimed)
        count["invented"] += len(claimed - told)
        count["noise"] += not told
        count["left out"] += not told and caption == dense(scene)
        count["described"] += claims.attributes == attributes(scene)
        count["faultless"] += caption == fused(scene, alt.facts)
    return {
        "scenes": len(drawn),
        "facts carried": _share(count["carried"], count["told"]),
        "facts invented": _share(count["invented"], count["claimed"]),
        "noise left out": _share(count["left out"], count["noise"]),
        "description kept": _share(count["described"], len(drawn)),
        "faultless": _share(count["faultless"], len(drawn)),
    }


def _said_of_pictures(folder: Path, asked: Sequence[list[Message]], scenes: Sequence[Scene]) -> Iterator[str]:
    from io import BytesIO

    from PIL import Image
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    pictures = [Image.open(BytesIO(jpeg(draw(scene)))) for scene in scenes]
    model: Any = LlavaForConditionalGeneration.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)  # type: ignore[no-untyped-call]
    return answers(model, processor, asked, pictures)


def _fused(folder: Path, asked: list[tuple[str, str]]) -> list[str]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder)
    return list(answers(model, AutoTokenizer.from_pretrained(folder), [fuse_messages(*pair) for pair in asked]))


def _known(facts: Facts) -> set[tuple[str, Any]]:
    return {(name, value) for name, value in asdict(facts).items() if value}


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4)
