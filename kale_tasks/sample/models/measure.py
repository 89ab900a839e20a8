"""Figures of the tiny models on scenes that no training saw, judged against the truth."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import yaml

from kale_tasks.sample.alttext import make_kind, write_alt
from kale_tasks.sample.describe import attributes, dense, fused, read
from kale_tasks.sample.draw import draw, jpeg
from kale_tasks.sample.models.examples import describing, fuse_messages
from kale_tasks.sample.models.generate import answers
from kale_tasks.sample.scene import Facts, make_facts, make_scene

UNSEEN = "measure"  # seeds every dice here; training throws its own


def measure_teacher(folder: Path, scenes: int) -> dict[str, float]:
    """How many visible attributes the teacher names rightly and how many it invents."""
    from io import BytesIO

    from PIL import Image
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    rng = Random(f"{UNSEEN} teacher")
    examples = [describing(rng) for _ in range(scenes)]
    pictures = [Image.open(BytesIO(jpeg(draw(example.scene)))) for example in examples]
    model: Any = LlavaForConditionalGeneration.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)  # type: ignore[no-untyped-call]
    said = answers(model, processor, [example.messages for example in examples], pictures)
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
    rng = Random(f"{UNSEEN} fuser")
    drawn = [(scene := make_scene(rng), write_alt(rng, make_kind(rng), scene, make_facts(rng))) for _ in range(scenes)]
    said = _fused(folder, [(dense(scene), alt.text) for scene, alt in drawn])
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
        "scenes": scenes,
        "facts carried": _share(count["carried"], count["told"]),
        "facts invented": _share(count["invented"], count["claimed"]),
        "noise left out": _share(count["left out"], count["noise"]),
        "description kept": _share(count["described"], scenes),
        "faultless": _share(count["faultless"], scenes),
    }


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


def _fused(folder: Path, asked: list[tuple[str, str]]) -> list[str]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder)
    return list(answers(model, AutoTokenizer.from_pretrained(folder), [fuse_messages(*pair) for pair in asked]))


def _known(facts: Facts) -> set[tuple[str, Any]]:
    return {(name, value) for name, value in asdict(facts).items() if value}


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4)
