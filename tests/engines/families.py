"""Tiny models of the architectures that recipes name, and requests for them."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from kale_tasks.bench.checkpoint import make_checkpoint
from kale_tasks.engines.base import Model, Request
from kale_tasks.recipes.parts import Task
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.recipes.slots import SlotText

# The family of a model, and the model call of the recipe `kale` that is made with it.
CALLS = {
    **dict.fromkeys(("qwen3_vl", "gemma3", "internvl"), "dense"), "student": "student",
    **dict.fromkeys(("qwen2", "qwen3"), "fused"),
}  # fmt: skip
SIZES = [(512, 384), (384, 512), (300, 200), (97, 640), (40, 30), (768, 768)]  # of images, in pixels
CONTEXT, LARGER = 1100, {"internvl": 3800}  # tokens; it cuts most pictures into 13 tiles of 256
ALT = "The Atomium in Brussels, built by Andr\u00e9 Waterkeyn in 1958 \u2014 \u539f\u5b50\u7403\u5854"
DENSE = "Nine steel spheres are joined by tubes before a blue sky. People walk at its foot."


def task_of(family: str) -> Task:
    """The model call, greedy in fp32, with short answers."""
    task = load_recipe("kale").task(CALLS[family])
    sampling = task.sampling.model_copy(update={"max_tokens": 12})
    thinking = False if family == "qwen3" else None
    return task.model_copy(
        update={
            "sampling": sampling,
            "dtype": "float32",
            "context": LARGER.get(family, CONTEXT),
            "thinking": thinking,
            "model": f"org/{family}@0",
        }
    )


def model_of(family: str, folder: Path, endpoints: Sequence[str] = ()) -> Model:
    """A tiny model of a family with random weights, and its task."""
    task = task_of(family)
    if not (folder / "config.json").exists():
        make_checkpoint(family, folder, [task.prompt.system, task.prompt.user, ALT, DENSE])
    return Model(f"{family}@0", task, lambda: folder, endpoints)


def requests_of(family: str, alts: Sequence[str] = (ALT, "", "x", "A dog", "Plain words", "1958")) -> list[Request]:
    """Requests with images of several shapes, if the family takes images."""
    task = task_of(family)
    images = [picture(*size, seed) if task.image_tokens else None for seed, size in enumerate(SIZES)]
    return [
        Request(n, task.prompt.messages({"alt": alt, "dense": [SlotText(DENSE, None)]}, image=image is not None), image)
        for n, (alt, image) in enumerate(zip(alts, images, strict=True))
    ]


def picture(width: int, height: int, seed: int) -> bytes:
    """A picture with soft colours."""
    colours = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(colours).resize((width, height)).save(sink, "PNG")
    return sink.getvalue()
