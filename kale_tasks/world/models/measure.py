"""Measures the tiny models on scenes that no training has used, against the truth."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import yaml

from kale_tasks.engines.transformers import generate_tokens
from kale_tasks.world.alttext import AltText, make_kind, write_alt
from kale_tasks.world.describe import attributes, dense, fused, read
from kale_tasks.world.draw import draw, jpeg
from kale_tasks.world.models.examples import Message, describe_example, fuse_messages
from kale_tasks.world.scene import Facts, Scene, make_facts, make_scene

UNSEEN = "measure"  # seed of all scenes here; trainings have another
_BATCH = 32
_MAX_TOKENS = 320


def measure_teacher(folder: Path, scenes: int) -> dict[str, float]:
    """Measure how many visible attributes the teacher names correctly and how many it invents."""
    rng = Random(f"{UNSEEN} teacher")
    examples = [describe_example(rng) for _ in range(scenes)]
    captions = _caption_images(folder, [example.messages for example in examples], [e.scene for e in examples])
    count: Counter[str] = Counter()
    for example, caption in zip(examples, captions, strict=True):
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
    """Measure facts and noise in the fuser's captions. A fact with one wrong letter counts as lost and as invented."""
    drawn = _draw_alt_texts(scenes)
    return _count_facts(drawn, _fuse(folder, [(dense(scene), alt.text) for scene, alt in drawn]))


def measure_base(folder: Path, scenes: int) -> dict[str, float]:
    """Measure the same for the base, which gets the image as well."""
    drawn = _draw_alt_texts(scenes)
    conversations = [fuse_messages(dense(scene), alt.text, with_image=True) for scene, alt in drawn]
    return _count_facts(drawn, _caption_images(folder, conversations, [scene for scene, _ in drawn]))


def measure_real_names(folder: Path) -> dict[str, float]:
    """Measure the share of sixty names of the real world that the fuser copies letter by letter."""
    rng = Random(f"{UNSEEN} names")
    works = [Facts(*row) for row in yaml.safe_load(Path(__file__).with_name("real_names.yaml").read_text())]
    scenes = [make_scene(rng) for _ in works]
    texts = [(dense(s), write_alt(rng, "full", s, work).text) for s, work in zip(scenes, works, strict=True)]
    copied = [
        name in caption
        for work, caption in zip(works, _fuse(folder, texts), strict=True)
        for name in (work.name, work.place, work.maker)
    ]
    return {"names": len(copied), "copied": _share(sum(copied), len(copied))}


def answer_ids(
    model: Any,
    processor: Any,
    conversations: Sequence[list[Message]],
    images: Sequence[Any] = (),
    max_tokens: int = _MAX_TOKENS,
) -> Iterator[list[int]]:
    """Generate an answer to each conversation greedily. Yields its token ids, including the end token.

    `images` has one image per conversation, for a model that takes images.
    """
    tokenizer = getattr(processor, "tokenizer", processor)
    tokenizer.padding_side = "left"
    for start in range(0, len(conversations), _BATCH):
        batch = slice(start, start + _BATCH)
        texts = [
            tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
            for messages in conversations[batch]
        ]
        pixels = {"images": list(images[batch])} if images else {}
        inputs = processor(text=texts, return_tensors="pt", padding=True, **pixels)
        inputs.pop("token_type_ids", None)
        for row in generate_tokens(model, inputs, max_tokens, do_sample=False):
            yield [token for token in row if token != tokenizer.pad_token_id]


def _draw_alt_texts(scenes: int) -> list[tuple[Scene, AltText]]:
    rng = Random(f"{UNSEEN} fuser")
    return [(scene := make_scene(rng), write_alt(rng, make_kind(rng), scene, make_facts(rng))) for _ in range(scenes)]


def _count_facts(drawn: Sequence[tuple[Scene, AltText]], captions: Iterable[str]) -> dict[str, float]:
    count: Counter[str] = Counter()
    for (scene, alt), caption in zip(drawn, captions, strict=True):
        known, claims = _known(alt.facts), read(caption)
        claimed = _known(claims.facts)
        count["known"] += len(known)
        count["carried"] += len(known & claimed)
        count["claimed"] += len(claimed)
        count["invented"] += len(claimed - known)
        count["noise"] += not known
        count["left out"] += not known and caption == dense(scene)
        count["described"] += claims.attributes == attributes(scene)
        count["faultless"] += caption == fused(scene, alt.facts)
    return {
        "scenes": len(drawn),
        "facts carried": _share(count["carried"], count["known"]),
        "facts invented": _share(count["invented"], count["claimed"]),
        "noise left out": _share(count["left out"], count["noise"]),
        "description kept": _share(count["described"], len(drawn)),
        "faultless": _share(count["faultless"], len(drawn)),
    }


def _caption_images(folder: Path, conversations: Sequence[list[Message]], scenes: Sequence[Scene]) -> Iterator[str]:
    from io import BytesIO

    from PIL import Image
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    images = [Image.open(BytesIO(jpeg(draw(scene)))) for scene in scenes]
    model: Any = LlavaForConditionalGeneration.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)
    for ids in answer_ids(model, processor, conversations, images):
        yield processor.decode(ids, skip_special_tokens=True)


def _fuse(folder: Path, texts: list[tuple[str, str]]) -> list[str]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    found = answer_ids(model, tokenizer, [fuse_messages(*pair) for pair in texts])
    return [tokenizer.decode(ids, skip_special_tokens=True) for ids in found]


def _known(facts: Facts) -> set[tuple[str, Any]]:
    return {(name, value) for name, value in asdict(facts).items() if value}


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4)
