"""Conditions of passes (`when`), such as `alt.useful` or `fit.max > 0.05 and not ocr.empty`."""

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from kale_tasks.errors import BadConfig
from kale_tasks.recipes.slots import SlotValue
from kale_tasks.text.alttext import alt_noise

_COMPARED: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip
FIGURES = ("useful", "noise", "empty", "count", "max", "min", "words")


@cache
def condition_reads(text: str) -> Sequence[str]:
    """Return the names that a condition reads, each once, in an order that is the same in every process.

    Raises BadConfig if it cannot be understood.
    """
    tree = _parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr not in FIGURES:
            raise BadConfig(f"'{node.attr}' is no figure of a text; figures: {', '.join(FIGURES)}")
    return tuple(sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}))


def holds(text: str, values: Mapping[str, SlotValue]) -> bool:
    """Whether a condition is true of a row."""
    return bool(_value(_parse(text), values))


@cache
def _parse(text: str) -> ast.expr:
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise BadConfig(f"the condition '{text}' cannot be read: {error.msg}") from error
    for node in ast.walk(tree):
        if isinstance(node, (ast.Attribute, ast.Name, ast.Constant, ast.BoolOp, ast.And, ast.Or, ast.Not, ast.Load)):
            continue
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            continue
        if (isinstance(node, ast.Compare) and len(node.ops) == 1) or type(node) in _COMPARED:
            continue
        raise BadConfig(f"the condition '{text}' may only compare figures such as alt.useful or fit.max > 0.05")
    return tree


def _value(node: ast.expr, values: Mapping[str, SlotValue]) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.BoolOp():
            joined = all if isinstance(node.op, ast.And) else any
            return joined(_value(part, values) for part in node.values)
        case ast.UnaryOp():
            return not _value(node.operand, values)
        case ast.Compare():
            left, right = _value(node.left, values), _value(node.comparators[0], values)
            return left is not None and _COMPARED[type(node.ops[0])](left, right)
        case ast.Attribute(value=ast.Name(id=name), attr=figure):
            return _figure(values.get(name, ""), figure)
    return not _figure(values.get(ast.unparse(node), ""), "empty")


def _figure(value: SlotValue, figure: str) -> Any:
    texts = ([value] if value else []) if isinstance(value, str) else [text.text for text in value]
    scores = [] if isinstance(value, str) else [text.score for text in value if text.score is not None]
    first = texts[0] if texts else ""
    figures: dict[str, Callable[[], Any]] = {
        "useful": lambda: not alt_noise(first),
        "noise": lambda: alt_noise(first),
        "empty": lambda: not any(texts),
        "count": lambda: len(texts),
        "max": lambda: max(scores, default=None),
        "min": lambda: min(scores, default=None),
        "words": lambda: len(first.split()),
    }
    return figures[figure]()
