"""Delays the import of pandas, which is a sixth of a command's start, until something needs it.

Arrow imports pandas when it makes its first value, to recognise a Series.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_NAME, _ASKING = "pandas", "pyarrow.dataset"  # the module that makes Arrow's first value


class _PandasLater(MetaPathFinder):
    """Hides pandas from Arrow until another module imports it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != _NAME:
            return None
        asking = getattr(sys.modules.get(_ASKING), "__spec__", None)
        if getattr(asking, "_initializing", False):
            raise ModuleNotFoundError(f"{name} is not needed yet", name=name)
        spec = PathFinder.find_spec(name, path, target)
        if spec and spec.loader:
            _call_after(spec.loader)
        return spec


def _call_after(loader: object) -> None:
    import_it = loader.exec_module  # type: ignore[attr-defined]

    def exec_module(module: ModuleType) -> None:
        import_it(module)
        if arrow := sys.modules.get("pyarrow"):
            arrow.lib._pandas_api.pd  # noqa: B018 - looks for pandas

    loader.exec_module = exec_module  # type: ignore[attr-defined]


def import_pandas_later() -> None:
    """Let Arrow not import pandas by itself in this process."""
    if _NAME not in sys.modules and not any(isinstance(finder, _PandasLater) for finder in sys.meta_path):
        sys.meta_path.insert(0, _PandasLater())
