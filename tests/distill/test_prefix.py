"""What all rows of a batch begin with is computed once, and changes neither the loss nor what is learned."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from kale_tasks.distill.batches import IGNORED, pad_rows
from kale_tasks.distill.loss import CaptionLoss
from kale_tasks.distill.model import image_side, load

PREFIX, ROWS = list(range(10, 60)), ([60, 61, 62], [70, 71], [80, 81, 82, 83])


@pytest.fixture
def batch(base):
    """A model, and rows with the same instructions before an image and different words behind it."""
    model, processor = load(base)
    model.set_attn_implementation("eager")  # the counter of operations does not see the other implementations
    image = [model.config.image_token_index] * model.config.image_seq_length
    ids = pad_rows([[*PREFIX, *image, *row] for row in ROWS], processor.tokenizer.pad_token_id)
    labels = pad_rows([[IGNORED] * (len(PREFIX) + len(image) + 1) + row[1:] for row in ROWS], IGNORED)
    side = image_side(processor)
    pixels = torch.randint(0, 255, (len(ROWS), 3, side, side), dtype=torch.uint8)
    return CaptionLoss(model, processor), ids, labels, pixels


def plain_loss(module, ids, labels, pixels):
    """The loss as transformers computes it, of all rows in full."""
    logits = module.model(input_ids=ids, pixel_values=module.normalize(pixels)).logits
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
    )


def gradients(module, loss):
    module.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in module.named_parameters() if weight.grad is not None}


def test_loss_and_gradients_are_those_of_whole_rows(batch):
    module, *rest = batch
    found, expected = module(*rest), plain_loss(module, *rest)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    one, two = gradients(module, found), gradients(module, expected)
    assert one.keys() == two.keys()
    assert all(torch.allclose(one[name], two[name], rtol=1e-3, atol=1e-5) for name in one)


def test_it_takes_fewer_operations_unless_layers_may_be_called_once_only(batch):
    module, *rest = batch

    def operations():
        with FlopCounterMode(display=False) as counter:
            module(*rest)
        return counter.get_total_flops()

    shared = operations()
    module.model.gradient_checkpointing_enable({"use_reentrant": False})
    module.train()
    assert shared < 0.8 * operations()
