"""The training of the tiny models minimizes the loss of the answers, and logs it."""

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
def test_a_shared_prefix_gives_the_gradient_of_rows_computed_one_by_one(
    lesson: Callable[[Random], SceneExample],
) -> None:
    torch.manual_seed(0)
    ids, labels, scenes = next(example_batches(TOKENIZER, lesson, Random("lesson"), 4))
    model = llm(TOKENIZER) if lesson is fuse_example else llava(TOKENIZER)
    images = {} if lesson is fuse_example else {"pixel_values": pixels(scenes, Random("noise"))}
    tokens = _tokens_computed(model)
    assert _gradient(model, answer_loss(model, ids, labels, **images)) == pytest.approx(
        _gradient(model, _row_by_row(model, ids, labels, **images)), abs=1e-5
    )
    shared, by_row = tokens[0] + tokens[1], tokens[2]
    assert shared < by_row


def test_rows_without_a_shared_prefix_have_a_loss_as_well() -> None:
    ids, labels = next(copy_batches(TOKENIZER, 0, 4))
    model = llm(TOKENIZER)
    assert answer_loss(model, ids, labels).item() == pytest.approx(_row_by_row(model, ids, labels).item())


@pytest.mark.nightly
def test_a_training_writes_its_loss_curve_and_returns_its_cost(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, log = llm(TOKENIZER), tmp_path / "deep" / "loss.jsonl"
    batches = example_batches(TOKENIZER, fuse_example, Random("lesson"), 4)
    figures = fit(model, batches, lambda batch: answer_loss(model, *batch[:2]), 50, 2e-3, log, Silent())
    curve = [json.loads(line) for line in log.read_text().splitlines()]
    assert [point["step"] for point in curve] == [25, 50]
    assert curve[1]["loss"] < curve[0]["loss"] < 8
    assert figures == {"steps": 50, "loss": curve[1]["loss"], "seconds": ANY, "cpu_seconds": ANY}


def _row_by_row(model: Any, ids: Any, labels: Any, **images: Any) -> Any:
    logits = model(input_ids=ids, **images).logits[:, :-1]
    return cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED)


def _gradient(model: Any, loss: Any) -> list[float]:
    model.zero_grad()
    loss.backward()
    norms = [weight.grad.norm().item() for weight in model.parameters() if weight.grad is not None]
    return [loss.item(), *norms]


def _tokens_computed(model: Any) -> list[int]:
    """Return a list to which every pass through the decoder's first layer appends its number of tokens."""
    tokens: list[int] = []
    decoder = getattr(model.model, "language_model", model.model)
    decoder.layers[0].register_forward_pre_hook(lambda _, given: tokens.append(given[0].shape[0] * given[0].shape[1]))
    return tokens
