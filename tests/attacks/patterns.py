"""Every regular expression of the package: those that modules hold or write out, and those that are made at run."""

import ast
import importlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import kale_tasks
from kale_tasks.resources import parse_yaml, resource
from kale_tasks.text import scripts, taming, words

ROOT = Path(kale_tasks.__file__).parent
_CALLS = {"compile", "match", "search", "sub", "subn", "fullmatch", "finditer", "findall", "split"}
_WHOLE = {"match", "fullmatch"}  # these try a text from its start only
_LISTS = parse_yaml(resource("config/ingest/patterns.yaml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Use:
    """A pattern, where it is used, and whether it is only matched from the start of a text."""

    place: str
    pattern: re.Pattern[Any]
    whole: bool


# What is made at run, by the module that makes it. None: made of escaped words only, or attacked by a test of its own.
MADE: dict[str, Callable[[], Iterator[Use]] | None] = {
    "text/words.py": lambda: (
        Use(f"words.{name}", words.pattern(name), name in ("chat", "closing", "intro")) for name in sorted(_named())
    ),
    "text/needed.py": lambda: (Use(f"orders {n}", one, False) for n, (one, _) in enumerate(taming._orders()._each)),
    "text/scripts.py": lambda: (Use("scripts.names", one, False) for one in (scripts._phrases(), *scripts._beside())),
    "text/personal.py": lambda: (
        Use(f"pii.{name}", re.compile(one, re.I), False) for name, one in _LISTS["pii"].items()
    ),
    "ingest/rules.py": lambda: iter(
        [Use(f"spam {number}", re.compile(one, re.I), False) for number, one in enumerate(_LISTS["spam"])]
    ),
    "captions/clean.py": lambda: iter([Use("clean.leaks", re.compile(words.pattern("leaked").pattern), False)]),
    "captions/verify.py": None,
    "evaluate/data.py": None,
    "images/opt_out.py": None,  # tests/images/test_opt_out.py::test_no_pattern_takes_exponential_time
    "quality/suite_files.py": None,
}
# Patterns that see few characters of a stranger's text, or none. So do those of placeholders: 100 characters.
SHORT = {
    "ingest/facts.py:_STOCK",  # the last 80 characters of a text
    "takedown/sweep.py:_FORMS",  # a line of a person's list, from its start
}


def _named() -> set[str]:
    """The lists of words.yaml that the source reads as patterns."""
    source = "".join(path.read_text(encoding="utf-8") for path in ROOT.rglob("*.py"))
    return set(re.findall(r"\bpattern\(\"(\w+)\"\)", source))


def modules() -> list[str]:
    """The modules that use regular expressions, without the sample world, as paths."""
    return sorted(
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        if re.search(r"^import re$", path.read_text(encoding="utf-8"), re.M) and "world" not in path.parts
    )


def uses(module: str) -> Iterator[Use]:
    """The patterns that a module holds in its names, or writes into calls of `re`."""
    source = (ROOT / module).read_text(encoding="utf-8")
    loaded = importlib.import_module("kale_tasks." + module.removesuffix(".py").replace("/", "."))
    for name, value in vars(loaded).items():
        calls = set(re.findall(rf"\b{re.escape(name)}\.(\w+)\(", source))
        for pattern in _inside(value):
            yield Use(f"{module}:{name}", pattern, bool(calls) and calls <= _WHOLE)
    for call in _calls(source):
        for written in _constants(call.args[0]):
            name = call.func.attr  # type: ignore[attr-defined]
            if name != "compile":
                yield Use(f"{module}:{call.lineno}", re.compile(written), name in _WHOLE)


def made_at_run(module: str) -> bool:
    """Whether a module makes patterns of values that its source does not show."""
    source = (ROOT / module).read_text(encoding="utf-8")
    held = [range(top.lineno, (top.end_lineno or 0) + 1) for top in ast.parse(source).body if _is_assignment(top)]
    called = [call for call in _calls(source) if not any(call.lineno in lines for lines in held)]
    return any(not _constants(call.args[0]) for call in called)


def _is_assignment(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign | ast.AnnAssign)


def _calls(source: str) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(source)):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Attribute) and ast.unparse(called.value) == "re" and called.attr in _CALLS:
            yield cast("ast.Call", node)


def _constants(node: ast.expr) -> list[Any]:
    if isinstance(node, ast.IfExp):
        return [*_constants(node.body), *_constants(node.orelse)]
    return [node.value] if isinstance(node, ast.Constant) else []


def _inside(value: Any) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, tuple | list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _inside(one)
