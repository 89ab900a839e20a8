"""The small model that an arm is measured with: built, trained on texts and lessons, asked."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from kale_tasks.distill.batches import decode_pixels, pad_examples, pad_rows
from kale_tasks.distill.loss import CaptionLoss
from kale_tasks.distill.model import build, freeze_unused, image_side, load
from kale_tasks.distill.parallel import choose_device
from kale_tasks.engines.transformers import generate_tokens
from kale_tasks.errors import BadData
from kale_tasks.evaluate.data import EvaluationData, Example
from kale_tasks.evaluate.design import Model, Phase
from kale_tasks.models.locate import locate

_CACHED_IMAGES = 8192
_MICRO = 32  # examples of a forward pass, of like lengths


class Encoded(NamedTuple):
    """Token ids of a question, with placeholders for its image, and of the answer."""

    prompt: list[int]
    answer: list[int]
    image: str


class SmallModel:
    """A model with its processor, and the images of an evaluation."""

    def __init__(self, of: Model, data: EvaluationData, seed: int) -> None:
        if of.threads:
            torch.set_num_threads(of.threads)
        torch.manual_seed(seed)
        self.of = of
        self.model, self.processor = _built(of)
        self.device = choose_device(of.device)
        self.module = CaptionLoss(self.model, self.processor).to(self.device)
        side = image_side(self.processor)
        self.pixels = lru_cache(_CACHED_IMAGES)(lambda name: _decoded(data.image(name), name, side))
        self._tokenizer = self.processor.tokenizer
        self._image = self._tokenizer.convert_tokens_to_ids(self.processor.image_token)

    def encode(self, example: Example) -> Encoded:
        """Encode an example in the chat format of the model: the image, then the question."""
        content = [{"type": "image"}, {"type": "text", "text": example.question}]
        messages = [{"role": "user", "content": content}]
        text = self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        ids = self._ids(text)
        at = ids.index(self._image)
        prompt = [*ids[:at], *[self._image] * self.model.config.image_seq_length, *ids[at + 1 :]]
        return Encoded(prompt, [*self._ids(example.answer), self._tokenizer.eos_token_id], example.image)

    def steps(self, examples: Sequence[Example], tokens: int, seed: Sequence[int]) -> Iterator[list[Encoded]]:
        """Yield the examples of each optimiser step: shuffled epochs, cut where the answers have enough tokens."""
        epoch, due, learnt, step = 0, tokens, 0, list[Encoded]()
        while True:
            for at in np.random.default_rng([*seed, epoch]).permutation(len(examples)):
                step.append(self.encode(examples[at]))
                learnt += len(step[-1].answer)
                if learnt >= due:
                    yield step
                    due, step = due + tokens, []
            epoch += 1

    def learn(self, step: Sequence[Encoded], optimizer: torch.optim.Optimizer, rate: float) -> float:
        """Make one optimiser step and return its mean loss; BadData if it is not finite."""
        tokens, total = sum(len(one.answer) for one in step), 0.0
        mixed = self.of.dtype != "float32"
        by_length = sorted(step, key=lambda one: len(one.prompt) + len(one.answer))
        for at in range(0, len(step), _MICRO):
            micro = by_length[at : at + _MICRO]
            ids, labels = pad_examples(micro, self._tokenizer.pad_token_id)  # type: ignore[arg-type]
            with torch.autocast(self.device.type, getattr(torch, self.of.dtype)) if mixed else nullcontext():
                loss = self.module(ids.to(self.device), labels.to(self.device), self._pixels(micro)) / tokens
            loss.backward()
            total += loss.item()
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        nn.utils.clip_grad_norm_(weights, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()
        if not np.isfinite(total):
            raise BadData(f"The loss is {total}: lower the rate of the design, under another name.")
        return total

    def optimizer(self, phase: Phase) -> torch.optim.Optimizer:
        """Return a fresh optimiser of what a phase trains."""
        self.model.requires_grad_(not phase.connector_only)
        self.model.model.multi_modal_projector.requires_grad_(True)
        freeze_unused(self.model)
        if not self.of.vision_trained:
            self.model.model.vision_tower.requires_grad_(False)
        trained = [weight for weight in self.module.parameters() if weight.requires_grad]
        return torch.optim.AdamW(trained, betas=(0.9, 0.98), weight_decay=self.of.decay)

    def answers(self, asked: Sequence[Example], batch: int = 64) -> list[str]:
        """Answer greedily."""
        pad, found = self._tokenizer.pad_token_id, [""] * len(asked)
        encoded = [self.encode(example) for example in asked]
        order = sorted(range(len(asked)), key=lambda at: len(encoded[at].prompt))
        self.module.eval()
        for at in range(0, len(order), batch):
            numbers = order[at : at + batch]
            rows = [encoded[number] for number in numbers]
            inputs = {
                "input_ids": pad_rows([row.prompt for row in rows], pad, side="left").to(self.device),
                "attention_mask": pad_rows([[1] * len(row.prompt) for row in rows], 0, side="left").to(self.device),
                "pixel_values": self.module.normalize(self._pixels(rows)),
            }
            made = generate_tokens(self.model, inputs, self.of.max_tokens, do_sample=False, pad_token_id=pad)
            for number, ids in zip(numbers, made, strict=True):
                found[number] = self._tokenizer.decode(ids, skip_special_tokens=True).strip()
        return found

    def _pixels(self, rows: Sequence[Encoded]) -> torch.Tensor:
        return torch.stack([self.pixels(row.image) for row in rows]).to(self.device)

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False).input_ids)


def _decoded(data: bytes, name: str, side: int) -> torch.Tensor:
    pixels = decode_pixels(data, side)
    if pixels is None:
        raise BadData(f"The image '{name}' of the evaluation cannot be decoded. Take it out of the data.")
    return pixels


def _built(of: Model) -> tuple[Any, Any]:
    model, processor = load(locate(of.base)) if of.base else build(locate(of.vision), locate(of.llm))
    if of.base and (of.decoder or of.connector):
        model = _redrawn(model, of)
    return model, processor


def _redrawn(model: Any, of: Model) -> Any:
    """Return the model with random weights in its connector, and in a decoder of other sizes if any are given."""
    from transformers import LlavaForConditionalGeneration

    config = model.config.__class__(**model.config.to_dict())
    text = {**config.text_config.to_dict(), **of.decoder}
    text.pop("layer_types", None)  # follows from the number of layers
    config.text_config = config.text_config.__class__(**text)
    fresh: Any = LlavaForConditionalGeneration(config)
    fresh.model.vision_tower.load_state_dict(model.model.vision_tower.state_dict())
    if not of.decoder:
        fresh.model.language_model.load_state_dict(model.model.language_model.state_dict())
        fresh.lm_head.load_state_dict(model.lm_head.state_dict())
    if not of.connector:
        fresh.model.multi_modal_projector.load_state_dict(model.model.multi_modal_projector.state_dict())
    fresh.generation_config = model.generation_config
    return fresh
