"""Lets a torchvision built for CUDA be imported beside a torch built for CPUs.

Run at the start of every interpreter of .venv-vllm, by a .pth file. Such a torchvision cannot load its compiled
operators, and its Python half fails when their schemas are unknown. They are declared when it is first imported,
so that processes which never use it do not pay for importing torch.
"""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


class DeclareOps(MetaPathFinder):
    """Finds nothing itself; declares the schemas on the first look for torchvision."""

    def __init__(self) -> None:
        self.libraries: list[object] = []  # a library that is collected takes its schemas with it

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Answers None always, so that the next finder loads torchvision."""
        if name == "torchvision" and not self.libraries:
            self._declare()
        return None

    def _declare(self) -> None:
        import torch

        library = torch.library.Library("torchvision", "FRAGMENT")
        self.libraries.append(library)
        for schema in SCHEMAS:
            library.define(schema)


sys.meta_path.insert(0, DeclareOps())
