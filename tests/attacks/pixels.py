"""Pictures whose pixels were moved, by the gradient of a captioner, until it names a thing that is not there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from kale_tasks.distill.batches import pad_rows
from kale_tasks.world.describe import dense
from kale_tasks.world.draw import draw
from kale_tasks.world.models.examples import SceneExample, describe_example, encode
from kale_tasks.world.scene import KINDS, Scene

STEPS, LEVELS, RATE = 40, 12, 1.5  # levels of 255 by which a pixel may differ, and how many a step moves it
QUALITY = 95
_LEVEL = 2 / 255  # of what the model sees: -1 to 1


@dataclass(frozen=True)
class Planted:
    """A picture of a scene, and the word that its pixels are to make a captioner say."""

    scene: Scene
    word: str
    image: bytes


def plant(folder: Path, amount: int, seed: str) -> list[Planted]:
    """Plant one word in each of some pictures, by projected gradient descent on a captioner."""
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    model = LlavaForConditionalGeneration.from_pretrained(folder).float().eval().requires_grad_(False)
    tokenizer = AutoProcessor.from_pretrained(folder).tokenizer
    rng, made = Random(seed), list[Planted]()
    while len(made) < amount:
        examples = [describe_example(rng) for _ in range(min(10, amount - len(made)))]
        words = [rng.choice(_absent(example.scene)) for example in examples]
        images = _moved(model, tokenizer, [_wrong(*pair) for pair in zip(examples, words, strict=True)],
                        [draw(example.scene) for example in examples])  # fmt: skip
        made += [Planted(e.scene, *rest) for e, *rest in zip(examples, words, images, strict=True)]
    return made


def _absent(scene: Scene) -> Sequence[str]:
    present = {thing.kind for thing in scene.things}
    return [kind for kind in KINDS if kind not in present]


def _wrong(example: SceneExample, word: str) -> SceneExample:
    """The description of the scene with another thing in place of its first."""
    first, *others = example.scene.things
    return replace(example, answer=dense(replace(example.scene, things=(replace(first, kind=word), *others))))


def _moved(model: Any, tokenizer: Any, wanted: Sequence[SceneExample], pictures: Sequence[Image.Image]) -> list[bytes]:
    import numpy as np
    import torch

    ids, labels = zip(*(encode(tokenizer, example) for example in wanted), strict=True)
    rows = pad_rows(ids, tokenizer.pad_token_id), pad_rows(labels, -100)
    stacked = np.stack([np.array(picture.convert("RGB")) for picture in pictures])
    clean = torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 127.5 - 1
    moved = clean.clone()
    for _ in range(STEPS):
        moved.requires_grad_(True)
        loss = model(input_ids=rows[0], labels=rows[1], pixel_values=moved,
                     attention_mask=(rows[0] != tokenizer.pad_token_id).long()).loss  # fmt: skip
        (slope,) = torch.autograd.grad(loss, moved)
        with torch.no_grad():
            moved = moved.detach() - RATE * _LEVEL * slope.sign()
            moved = clean + (moved - clean).clamp(-LEVELS * _LEVEL, LEVELS * _LEVEL)
            moved = moved.clamp(-1, 1)
    pixels = ((moved + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return [_jpeg(one) for one in pixels]


def _jpeg(pixels: Any) -> bytes:
    out = BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=QUALITY, subsampling=0)
    return out.getvalue()
