"""Trains a small CLIP on a release: each step draws one text of each image by weight.

    python clip.py RELEASE --steps 20 --weights caption=0.6,alt_text=0.3,dense_caption=0.1

RELEASE is what `datasets.load_dataset` takes: a published folder, or the name of a repository; it must have the config
`images` (`publish.formats`). For a real run put open_clip's model, tokenizer and transform in the place of `tiny`.
"""

import argparse
import json
import random
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from datasets import load_dataset
from torchvision.transforms import v2
from transformers import CLIPConfig, CLIPModel

CONTEXT, WORDS, SIDE = 77, 4096, 32  # CLIP reads 77 tokens; the rest of a text is cut
_TRANSFORM = v2.Compose(
    [v2.ToImage(), v2.RGB(), v2.Resize((SIDE, SIDE)), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5], [0.5])]
)


def texts_of(row: Mapping[str, Any], weights: Mapping[str, float]) -> dict[str, float]:
    """Return the weight of each text that a row has; `weights` names columns, or texts of the column `also`."""
    further = json.loads(row.get("also") or "{}")
    texts = {name: row.get(name) or further.get(name) for name in weights}
    return {str(text): weights[name] for name, text in texts.items() if text}


def drawn(rows: Any, weights: Mapping[str, float], seed: int = 0) -> Iterator[tuple[Any, str]]:
    """Yield images with one of their texts, epoch after epoch; another one in each."""
    chance = random.Random(seed)
    while True:
        for row in rows:
            if texts := texts_of(row, weights):
                yield row["image"], chance.choices(list(texts), list(texts.values()))[0]


def tokens(text: str) -> list[int]:
    """Number the words of a text in the place of a tokenizer. 0 is padding, 1 begins and 2 ends a text."""
    numbers = [3 + zlib.crc32(word.encode()) % (WORDS - 3) for word in text.lower().split()]
    return [1, *numbers[: CONTEXT - 2], 2]


def batches(pairs: Iterator[tuple[Any, str]], size: int) -> Iterator[dict[str, torch.Tensor]]:
    """Group pairs into the tensors that a CLIP model takes."""
    while True:
        images, texts = zip(*(next(pairs) for _ in range(size)), strict=True)
        numbered = [tokens(text) for text in texts]
        ids = torch.tensor([one + [0] * (CONTEXT - len(one)) for one in numbered])
        pixels = torch.stack([_TRANSFORM(image) for image in images])
        yield {"input_ids": ids, "attention_mask": (ids > 0).long(), "pixel_values": pixels}


def tiny() -> CLIPModel:
    """A CLIP of two small towers."""
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**shape, "vocab_size": WORDS, "max_position_embeddings": CONTEXT, "eos_token_id": 2, "pad_token_id": 0}
    return CLIPModel(
        CLIPConfig(text_config=text, vision_config={**shape, "image_size": SIDE, "patch_size": 8}, projection_dim=64)
    )


def train(release: str, weights: Mapping[str, float], steps: int, batch: int = 16) -> list[float]:
    """Train and return the loss of each step."""
    torch.manual_seed(0)
    model, losses = tiny(), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    rows = load_dataset(release, "images", split="train")
    for _, inputs in zip(range(steps), batches(drawn(rows, weights), batch), strict=False):
        loss = model(**inputs, return_loss=True).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def main() -> None:
    """Read the command line and train."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("release")
    options.add_argument("--steps", type=int, default=20)
    options.add_argument("--weights", default="caption=0.6,alt_text=0.3,dense_caption=0.1")
    given = options.parse_args()
    weights = {name: float(weight) for name, weight in (part.split("=") for part in given.weights.split(","))}
    losses = train(given.release, weights, given.steps)
    print(f"loss {losses[0]:.3f} to {losses[-1]:.3f} in {len(losses)} steps")


if __name__ == "__main__":
    main()
