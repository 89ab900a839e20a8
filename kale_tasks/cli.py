"""The `kale` command: thin words over the same functions that every operator calls."""

import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec, TypeVar

import typer

from kale_tasks.errors import KaleError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
_P, _T = ParamSpec("_P"), TypeVar("_T")

Key = Annotated[str, typer.Option("--key", help="The partition, such as 2026-11-01.")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="Override a setting: name=value. May be repeated.")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer with JSON on stdout.")]


@app.callback()
def _options(debug: Annotated[bool, typer.Option(help="Show a traceback when something fails.")] = False) -> None:
    _State.debug = debug


class _State:
    debug = False


def main() -> NoReturn:
    """Run the command; an error is one line and an exit code that a scheduler can read."""
    try:
        app(standalone_mode=False)
    except KaleError as error:
        if _State.debug:
            raise
        print(f"kale: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    raise SystemExit(0)


if __name__ == "__main__":
    main()
