"""Makes the import of Great Expectations lighter. Import it before anything that imports Great Expectations."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType


class _Deferred(MetaPathFinder):
    """Imports on first use what Great Expectations imports for expectations on distributions.

    That is a fifth of the time that it takes to import it, and few suites have such an expectation.
    """

    _NAMES = ("altair", "scipy.stats")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path) if fullname in self._NAMES else None
        if spec and spec.loader:
            spec.loader = LazyLoader(spec.loader)
        return spec


sys.meta_path.insert(0, _Deferred())
