"""KALE: knowledge-augmented captions for web images, from alt-text to a published release."""

import sys
from typing import Annotated, NoReturn

import typer
from typer.exceptions import Abort, TyperException

from kale_tasks.cli import airflow, demo, evaluate, inspect, maintain, models, quality, release, run, sample
from kale_tasks.errors import BadConfig, KaleError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
_debug = False
# The extra of this package that brings a module.
_EXTRAS = {
    "airflow": "airflow", "pyspark": "spark", "torch": "train", "transformers": "train", "safetensors": "train",
    "tokenizers": "train", "huggingface_hub": "publish", "httpx2": "publish", "vllm": "gpu",
}  # fmt: skip


@app.callback()
def _options(debug: Annotated[bool, typer.Option(help="Show a traceback when something fails.")] = False) -> None:
    global _debug  # noqa: PLW0603 - the one switch of the process
    _debug = debug


for command in (
    run.run, run.plan, run.work, run.commit,
    inspect.status, inspect.pending, inspect.show, inspect.history, inspect.diff,
    quality.check, quality.report, evaluate.evaluate, release.publish, release.takedown,
    maintain.config, maintain.maintain, maintain.doctor, demo.demo, airflow.up, airflow.down,
):  # fmt: skip
    app.command()(command)
app.command(hidden=True)(maintain.note)
app.add_typer(sample.app, name="sample")
app.add_typer(models.app, name="models")
app.add_typer(release.app, name="release")


def main() -> NoReturn:
    """Run the command; an error is one line and an exit code that a scheduler can read."""
    try:
        code = app(standalone_mode=False)
    except KaleError as error:
        _fail(error, error.exit_code)
    except TyperException as error:
        if said := error.format_message().rstrip("."):
            _fail(BadConfig(f"{said}. `kale --help` and `kale WORD --help` say more."), BadConfig.exit_code)
        raise SystemExit(BadConfig.exit_code) from None  # a group without a word has shown its help
    except (KeyboardInterrupt, Abort):
        raise SystemExit(130) from None
    except Exception as error:
        _fail(*_known(error))
    raise SystemExit(code if isinstance(code, int) else 0)


def _known(error: Exception) -> tuple[Exception, int]:
    """Return an explained error and its exit code for what no part of the program has explained."""
    from kale_tasks.lake.io_errors import explain

    if isinstance(error, ModuleNotFoundError) and (extra := _EXTRAS.get((error.name or "").partition(".")[0])):
        return BadConfig(f"{error}. Install it: pip install 'kale-tasks[{extra}]'."), BadConfig.exit_code
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
