"""Bugs that the machine of operations must find: each function puts one of them back into this process."""

from typing import Any


def forget_later_keys() -> None:
    """A day that lands late marks no later key, so that pairs are in two keys."""
    from kale_tasks.runner import commit

    commit.mark_keys = _nothing


def _nothing(*_: Any, **__: Any) -> None:
    pass
