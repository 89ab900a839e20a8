"""Lets a torchvision built for CUDA be imported beside a torch built for CPUs.

Run at the start of every interpreter of such an environment, by a .pth file. Such a torchvision cannot load its
compiled operators, and its Python half fails when their schemas are unknown. They are declared when it is imported, so
that processes which never use it do not pay for importing torch.
"""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


class DeclaringLoader(SourceFileLoader):
    """Declares the schemas, then loads torchvision."""

    libraries: list[object] = []  # noqa: RUF012 - a library that is collected takes its schemas with it

    def exec_module(self, module: ModuleType) -> None:
        """Run the code of the module."""
        import torch

        library = torch.library.Library("torchvision", "FRAGMENT")
        self.libraries.append(library)
        for schema in SCHEMAS:
            library.define(schema)
        super().exec_module(module)


class DeclareOps(MetaPathFinder):
    """Finds torchvision where it is, with another loader."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Answer for torchvision alone."""
        spec = PathFinder.find_spec(name) if name == "torchvision" else None
        if spec and isinstance(spec.loader, SourceFileLoader):
            spec.loader = DeclaringLoader(spec.loader.name, spec.loader.path)
        return spec


sys.meta_path.insert(0, DeclareOps())
