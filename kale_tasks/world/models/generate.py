"""Greedy answers of a tiny model, batch by batch."""

from collections.abc import Iterator, Sequence
from typing import Any

from kale_tasks.world.models.examples import Message

LONGEST = 320
_BATCH = 32


def answers(
    model: Any, processor: Any, conversations: Sequence[list[Message]], images: Sequence[Any] = ()
) -> Iterator[str]:
    """The model's answer to each conversation; `images` has one picture each for a model that sees."""
    for ids in answer_ids(model, processor, conversations, images):
        yield processor.decode(ids, skip_special_tokens=True)


def answer_ids(
    model: Any,
    processor: Any,
    conversations: Sequence[list[Message]],
    images: Sequence[Any] = (),
    longest: int = LONGEST,
) -> Iterator[list[int]]:
    """The same as token ids, the end token included."""
    import torch

    tokenizer = getattr(processor, "tokenizer", processor)
    tokenizer.padding_side = "left"
    for start in range(0, len(conversations), _BATCH):
        batch = slice(start, start + _BATCH)
        texts = [
            tokenizer.apply_chat_template(talk, add_generation_prompt=True, tokenize=False)
            for talk in conversations[batch]
        ]
        seen = {"images": list(images[batch])} if images else {}
        inputs = processor(text=texts, return_tensors="pt", padding=True, **seen)
        inputs.pop("token_type_ids", None)
        with torch.inference_mode():
            tokens = model.generate(**inputs, max_new_tokens=longest, do_sample=False)
        for row in tokens[:, inputs["input_ids"].shape[1] :].tolist():
            yield [token for token in row if token != tokenizer.pad_token_id]
