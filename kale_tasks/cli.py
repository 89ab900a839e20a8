"""KALE: knowledge-augmented captions for web images, from alt-text to a published release."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, NoReturn

import click
import typer

from kale_tasks.commands import look, steps, upkeep
from kale_tasks.errors import KaleError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
_debug = False


@app.callback()
def _options(debug: Annotated[bool, typer.Option(help="Show a traceback when something fails.")] = False) -> None:
    global _debug  # noqa: PLW0603 - the one switch of the process
    _debug = debug


for command in (steps.run, steps.plan, steps.work, steps.commit, look.status, look.todo, look.show, look.history,
                look.diff, upkeep.config, upkeep.maintain, upkeep.doctor):  # fmt: skip
    app.command()(command)
# Words that other parts bring; their modules are light until such a word is called.
for part, words in {"quality": ["gate", "report"], "publish": ["publish", "takedown"], "demo": ["demo", "up", "down"],
                    "evaluate": ["evaluate"]}.items():  # fmt: skip
    if (Path(__file__).parent / part / "cli.py").exists():
        module = import_module(f"kale_tasks.{part}.cli")
        for word in words:
            if hasattr(module, word):
                app.command()(getattr(module, word))
for name, part in {"sample": "sample", "models": "distill", "release": "publish"}.items():
    if (Path(__file__).parent / part / "cli.py").exists():
        app.add_typer(import_module(f"kale_tasks.{part}.cli").app, name=name)


def main() -> NoReturn:
    """Run the command; an error is one line and an exit code that a scheduler can read."""
    try:
        code = app(standalone_mode=False)
    except KaleError as error:
        _fail(error, error.exit_code)
    except click.ClickException as error:
        error.show()
        raise SystemExit(2) from None
    except (KeyboardInterrupt, click.Abort):
        raise SystemExit(130) from None
    except Exception as error:
        _fail(*_known(error))
    raise SystemExit(code if isinstance(code, int) else 0)


def _known(error: Exception) -> tuple[Exception, int]:
    # What no part of the program has put into words of its own.
    from kale_tasks.lake.explain import explain

    known = explain(error) if isinstance(error, OSError) else None
    return (known, known.exit_code) if known else (error, 1)


def _fail(error: Exception, code: int) -> NoReturn:
    if _debug:
        raise error
    hint = "" if isinstance(error, KaleError) else " (unexpected; `kale --debug …` shows where)"
    print(f"kale: {' '.join(str(error).split()) or type(error).__name__}{hint}", file=sys.stderr)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
