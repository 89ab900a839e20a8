"""Named parts that a user can add to: built in, or brought by another package through an entry point."""

import sys
from collections.abc import Mapping
from functools import cache, cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from kale_tasks.errors import BadConfig

_T = TypeVar("_T")


class Registry(Generic[_T]):
    """The parts of one kind by name. A part is a dotted name `module:object`, imported only when it is asked for."""

    def __init__(self, kind: str, group: str, built_in: Mapping[str, str]) -> None:
        self.kind, self.group, self._built_in = kind, group, built_in

    @property
    def names(self) -> list[str]:
        """Every name, the built-in ones first."""
        return [*self._built_in, *sorted(self._added)]

    def find(self, name: str) -> _T:
        """Import the part of that name; BadConfig if there is none or it cannot be imported."""
        found: _T = self._import(name, self.reference(name))
        return found

    def reference(self, name: str) -> str:
        """The dotted name of a part, without importing it; BadConfig if there is none."""
        if name in self._built_in:
            return self._built_in[name]
        if name in self._added:
            return self._added[name].value
        raise BadConfig(f"There is no {self.kind} '{name}'. Known: {', '.join(self.names)}.")

    @cached_property
    def _added(self) -> dict[str, EntryPoint]:
        found = {entry.name: entry for entry in _entry_points(tuple(sys.path)).select(group=self.group)}
        if taken := sorted(found.keys() & self._built_in.keys()):
            raise BadConfig(
                f"A package brings the {self.kind} '{taken[0]}', which is built in ({found[taken[0]].value}). "
                f"Rename it in that package's entry points ({self.group})."
            )
        return found

    def _import(self, name: str, reference: str) -> _T:
        module, _, attribute = reference.partition(":")
        try:
            found: _T = getattr(import_module(module), attribute)
            return found
        except (ImportError, AttributeError) as error:
            raise BadConfig(
                f"The {self.kind} '{name}' ({reference}) cannot be imported: {error}. Install what it needs."
            ) from error


@cache
def _entry_points(_: tuple[str, ...]) -> Any:
    """Those of all packages on this path. It takes reading the metadata of each, so do it once in a process."""
    return entry_points()
