"""Trains a model that reads pictures on the conversations of `kale export sft` or `kale export llava`.

    kale export sft --key K --out lessons.jsonl
    python sft.py lessons.jsonl --model FOLDER --steps 20

A .jsonl file has `messages` and `images` on each line, as TRL reads them; a .json file is a list of `conversations`, as
LLaVA reads it. The paths of images begin at the folder of the file, and only answers count in the loss. For a real run
give the file to TRL or LLaVA; `tensors` shows what they make of it.
"""

import argparse
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

Message = dict[str, Any]
Conversation = tuple[list[Message], list[Path]]  # the messages, and the images that they are about
_ROLES = {"human": "user", "gpt": "assistant"}
_MARK = "<image>\n"


def conversations(path: Path) -> Iterator[Conversation]:
    """Yield every conversation of a file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        for row in json.loads(text):
            yield [message(turn) for turn in row["conversations"]], [path.parent / row["image"]]
    else:
        for row in map(json.loads, text.splitlines()):
            yield row["messages"], [path.parent / name for name in row["images"]]


def message(turn: Mapping[str, str]) -> Message:
    """Return a turn of LLaVA as a message in parts."""
    text = turn["value"].removeprefix(_MARK)
    parts: list[Message] = [{"type": "image"}] if text != turn["value"] else []
    return {"role": _ROLES[turn["from"]], "content": [*parts, {"type": "text", "text": text}]}


def tensors(processor: Any, chosen: Sequence[Conversation]) -> dict[str, torch.Tensor]:
    """Return what a model takes of some conversations; everything but their last answer is left out of the labels."""
    texts = [processor.apply_chat_template(messages, tokenize=False) for messages, _ in chosen]
    asked = [
        processor.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
        for messages, _ in chosen
    ]
    images = [Image.open(path).convert("RGB") for _, paths in chosen for path in paths]
    processor.tokenizer.padding_side = "right"
    made = dict(processor(images=images, text=texts, padding=True, return_tensors="pt"))
    labels = torch.full_like(made["input_ids"], -100)
    for row, (text, begin) in enumerate(zip(texts, asked, strict=True)):
        stop = int(made["attention_mask"][row].sum())
        answer = processor.tokenizer(text.removeprefix(begin), add_special_tokens=False)["input_ids"]
        labels[row, stop - len(answer) : stop] = made["input_ids"][row, stop - len(answer) : stop]
    return {**made, "labels": labels}


def train(path: Path, model: str, steps: int, batch: int = 4, rate: float = 1e-3) -> list[float]:
    """Train and return the loss of each step."""
    torch.manual_seed(0)
    processor = AutoProcessor.from_pretrained(model)
    network = AutoModelForImageTextToText.from_pretrained(model)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate)
    rows, chance, losses = list(conversations(path)), random.Random(0), []
    for _ in range(steps):
        loss = network(**tensors(processor, chance.sample(rows, batch))).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def main() -> None:
    """Read the command line and train."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("file", type=Path)
    options.add_argument("--model", required=True, help="folder of a model with its processor and chat template")
    options.add_argument("--steps", type=int, default=20)
    options.add_argument("--rate", type=float, default=1e-5)
    given = options.parse_args()
    losses = train(given.file, given.model, given.steps, rate=given.rate)
    print(f"loss {losses[0]:.3f} to {losses[-1]:.3f} in {len(losses)} steps")


if __name__ == "__main__":
    main()
