"""A recipe file as it is read: its values, the line of each, and the problems that were found in it."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kale_tasks.errors import BadConfig
from kale_tasks.resources import YamlLoader, parse_yaml

Where = tuple[str | int, ...]  # the place of a value: the fields and list indices that lead to it
_KINDS: Mapping[str, tuple[type, str]] = {
    "about": (str, "a text"), "models": (dict, "a mapping of names to models"), "passes": (list, "a list of passes"),
    "caption": (str, "the name of a pass"), "also": (list, "a list of names of passes"), "student": (dict, "a mapping"),
    "verified": (list, "a list of measurements"),
}  # fmt: skip
FIELDS = tuple(_KINDS)
_OPTIONAL = {"also", "verified"}


@dataclass
class RecipeFile:
    """A recipe file."""

    name: str
    tree: dict[str, Any]
    lines: Mapping[Where, int]
    problems: list[tuple[int, str]] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> "RecipeFile":
        """Read a file and look at its outermost fields; BadConfig if it is no YAML."""
        try:
            text = path.read_text(encoding="utf-8")
            tree = parse_yaml(text)
            found = list(_lines(yaml.compose(text, YamlLoader), ()))
        except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:  # it may be a part of itself
            raise BadConfig(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
        file = cls(path.name, tree if isinstance(tree, dict) else {}, {(): 1, **dict(found)})
        if not file.tree:
            file.report((), f"a recipe has the fields {', '.join(FIELDS)}")
            return file
        seen = set[Where]()
        for where, line in found:
            if where in seen:
                file.problems.append((line, f"the field '{where[-1]}' is given twice"))
            seen.add(where)
        file._check_fields()
        return file

    def report(self, where: Where, text: str) -> None:
        """Note a problem at a place."""
        while where not in self.lines:
            where = where[:-1]
        self.problems.append((self.lines[where], text))

    def messages(self) -> list[str]:
        """The problems in order of lines."""
        return [f"{self.name}:{line}: {text}{'' if text[-1] == '?' else '.'}" for line, text in sorted(self.problems)]

    def _check_fields(self) -> None:
        for name in self.tree.keys() - set(FIELDS):
            self.report((name,), f"there is no field '{name}'{near(str(name), FIELDS)}")
        for name in set(FIELDS) - _OPTIONAL - self.tree.keys():
            self.report((), f"the field '{name}' is missing")
        for name, (kind, says) in _KINDS.items():
            if name in self.tree and not isinstance(self.tree[name], kind):
                self.report((name,), f"'{name}' must be {says}")
                self.tree[name] = kind()  # so that the rest can be looked at
        for at, name in enumerate(self.tree.get("also", ())):
            if not isinstance(name, str):
                self.report(("also", at), "'also' must be a list of names of passes")


def near(name: str, known: Sequence[str]) -> str:
    """Suggest the nearest of the known names, or list them, as the end of a message."""
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f". Did you mean '{found[0]}'?" if found else f"; known: {', '.join(known)}" if known else ""


def _lines(node: Any, where: Where) -> Iterator[tuple[Where, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*where, key.value), key.start_mark.line + 1
            yield from _lines(value, (*where, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*where, index), value.start_mark.line + 1
            yield from _lines(value, (*where, index))
