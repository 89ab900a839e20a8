"""Pretraining of the vision tower: classify the content of each of the nine cells, and the background."""

from collections.abc import Iterator
from io import BytesIO
from random import Random
from typing import Any

from kale_tasks.distill.batches import IGNORED
from kale_tasks.world.draw import SIDE, draw, jpeg
from kale_tasks.world.models.build import VISION_WIDTH
from kale_tasks.world.models.tokenizer import PATCH
from kale_tasks.world.scene import CELLS, COLOURS, GROUNDS, KINDS, PATTERNS, SIZES, Scene, make_scene

_QUALITIES = (70, 95)  # of JPEG
_CELL_HEADS = (len(CELLS), len(KINDS) + 2, len(COLOURS), len(SIZES), 10, 10)  # kind 0 is an empty cell, 1 holds digits
_SCENE_HEADS = (len(PATTERNS), len(GROUNDS))


def pixels(scenes: list[Scene], rng: Random) -> Any:
    """Render scenes as input of a SigLIP tower, each through a JPEG of random quality."""
    import numpy as np
    import torch
    from PIL import Image

    files = (BytesIO(jpeg(draw(scene), rng.randint(*_QUALITIES))) for scene in scenes)
    stacked = np.stack([np.array(Image.open(file)) for file in files])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 127.5 - 1


def cell_batches(rng: Random, size: int) -> Iterator[tuple[Any, Any, Any]]:
    """Yield endless batches: images, labels of each cell, labels of the scene."""
    import torch

    while True:
        scenes = [make_scene(rng) for _ in range(size)]
        labels = torch.tensor([_cell_labels(scene) for scene in scenes])
        whole = torch.tensor([[PATTERNS.index(scene.pattern), GROUNDS.index(scene.ground)] for scene in scenes])
        yield pixels(scenes, rng), labels, whole


def cell_classifier(tower: Any) -> Any:
    """Add two linear heads to the tower, for cells and scene. Calling the result on a batch returns the loss."""
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy

    class CellClassifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tower = tower
            self.cells = nn.Linear(VISION_WIDTH, sum(_CELL_HEADS))
            self.scene = nn.Linear(VISION_WIDTH, sum(_SCENE_HEADS))

        def forward(self, batch: tuple[Any, Any, Any]) -> Any:
            images, labels, whole = batch
            states = self.tower(pixel_values=images).last_hidden_state
            grid = states.transpose(1, 2).unflatten(2, (SIDE // PATCH, SIDE // PATCH))
            places = nn.functional.adaptive_avg_pool2d(grid, 3).flatten(2).transpose(1, 2)
            by_cell = self.cells(places).split(_CELL_HEADS, dim=-1)
            by_scene = self.scene(states.mean(1)).split(_SCENE_HEADS, dim=-1)
            losses = [cross_entropy(scores.flatten(0, 1), labels[..., n].flatten()) for n, scores in enumerate(by_cell)]
            losses += [cross_entropy(scores, whole[:, n]) for n, scores in enumerate(by_scene)]
            return torch.stack(losses).mean()

    return CellClassifier()


def _cell_labels(scene: Scene) -> list[list[int]]:
    labels = {cell: [position, 0, *[IGNORED] * 4] for position, cell in enumerate(CELLS)}
    for thing in scene.things:
        classes = (KINDS.index(thing.kind) + 2, COLOURS.index(thing.colour), SIZES.index(thing.size))
        labels[thing.cell][1:4] = classes
    if scene.digits:
        labels[scene.digits_cell][1] = 1
        labels[scene.digits_cell][4:] = map(int, scene.digits)
    return list(labels.values())
