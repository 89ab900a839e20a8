"""Greedy answers of a tiny model, batch by batch."""

from collections.abc import Iterator, Sequence
from typing import Any

from kale_tasks.sample.models.examples import Message

_LONGEST = 320
_BATCH = 32


def answers(
    model: Any, processor: Any, conversations: Sequence[list[Message]], images: Sequence[Any] = ()
) -> Iterator[str]:
    """The model's answer to each conversation; `images` has one picture each for a model that sees."""
    import torch

    tokenizer = getattr(processor, "tokenizer", processor)
    tokenizer.padding_side = "left"
    for start in range(0, len(conversations), _BATCH):
        texts = [
            tokenizer.apply_chat_template(talk, add_generation_prompt=True, tokenize=False)
            for talk in conversations[start : start + _BATCH]
        ]
        seen = {"images": list(images[start : start + _BATCH])} if images else {}
        inputs = processor(text=texts, return_tensors="pt", padding=True, **seen)
        inputs.pop("token_type_ids", None)
        with torch.inference_mode():
            tokens = model.generate(**inputs, max_new_tokens=_LONGEST, do_sample=False)
        yield from tokenizer.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
