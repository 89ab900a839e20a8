"""What the training of the tiny models minimizes, and what it leaves."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import ANY

import pytest
import torch
from torch.nn.functional import cross_entropy

from kale_tasks.distill.batches import IGNORED
from kale_tasks.progress import Silent
from kale_tasks.world.models.build import llava, llm
from kale_tasks.world.models.examples import (
    SceneExample,
    copy_batches,
    describe_example,
    example_batches,
    fuse_example,
    fuse_with_image_example,
)
from kale_tasks.world.models.fit import answer_loss, fit
from kale_tasks.world.models.tokenizer import build_tokenizer
from kale_tasks.world.models.tower import pixels

TOKENIZER = build_tokenizer()


@pytest.mark.parametrize("lesson", [describe_example, fuse_example, fuse_with_image_example])
def test_words_read_once_for_all_weigh_as_if_read_with_every_row(lesson: Callable[[Random], SceneExample]) -> None:
    torch.manual_seed(0)
    ids, labels, scenes = next(example_batches(TOKENIZER, lesson, Random("lesson"), 4))
    model = llm(TOKENIZER) if lesson is fuse_example else llava(TOKENIZER)
    seen = {} if lesson is fuse_example else {"pixel_values": pixels(scenes, Random("light"))}
    read = _tokens_read(model)
    assert _gradient(model, answer_loss(model, ids, labels, **seen)) == pytest.approx(
        _gradient(model, _row_by_row(model, ids, labels, **seen)), abs=1e-5
    )
    once, by_row = read[0] + read[1], read[2]
    assert once < by_row


def test_rows_that_share_nothing_are_learned_as_well() -> None:
    ids, labels = next(copy_batches(TOKENIZER, 0, 4))
    model = llm(TOKENIZER)
    assert answer_loss(model, ids, labels).item() == pytest.approx(_row_by_row(model, ids, labels).item())


def test_a_training_leaves_its_curve_and_its_cost(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, log = llm(TOKENIZER), tmp_path / "deep" / "loss.jsonl"
    lessons = example_batches(TOKENIZER, fuse_example, Random("lesson"), 4)
    told = fit(model, lessons, lambda batch: answer_loss(model, *batch[:2]), 50, 2e-3, log, Silent())
    curve = [json.loads(line) for line in log.read_text().splitlines()]
    assert [point["step"] for point in curve] == [25, 50]
    assert curve[1]["loss"] < curve[0]["loss"] < 8
    assert told == {"steps": 50, "loss": curve[1]["loss"], "seconds": ANY, "cpu_seconds": ANY}


def _row_by_row(model: Any, ids: Any, labels: Any, **seen: Any) -> Any:
    logits = model(input_ids=ids, **seen).logits[:, :-1]
    return cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED)


def _gradient(model: Any, loss: Any) -> list[float]:
    model.zero_grad()
    loss.backward()
    slopes = [weight.grad.norm().item() for weight in model.parameters() if weight.grad is not None]
    return [loss.item(), *slopes]


def _tokens_read(model: Any) -> list[int]:
    """Grows by one count with each pass through the decoder's first layer."""
    read: list[int] = []
    decoder = getattr(model.model, "language_model", model.model)
    decoder.layers[0].register_forward_pre_hook(lambda _, given: read.append(given[0].shape[0] * given[0].shape[1]))
    return read
