"""Low-rank updates change nothing at first, are all that is trained, and become part of the weights."""

import torch
from torch import nn

from kale_tasks.distill.low_rank import add_low_rank, merge_low_rank, train_updates


def test_updates_are_trained_alone_and_leave_the_same_model_when_merged():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    inputs, names, given = torch.randn(5, 8), set(model.state_dict()), model[0].weight.clone()
    before = model(inputs).detach()
    add_low_rank(model, model, rank=2)
    assert train_updates(model)
    assert torch.equal(model(inputs), before)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    for _ in range(20):
        model(inputs).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    after = model(inputs).detach()
    assert torch.equal(model[0].linear.weight, given) and not torch.allclose(after, before)
    merge_low_rank(model)
    assert torch.allclose(model(inputs), after, atol=1e-5) and set(model.state_dict()) == names
    assert torch.linalg.matrix_rank(model[0].weight - given, rtol=1e-4) == 2


def test_a_model_without_updates_is_trained_as_a_whole():
    model = nn.Linear(8, 4)
    assert not train_updates(model) and all(weight.requires_grad for weight in model.parameters())
