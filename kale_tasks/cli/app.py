"""KALE: knowledge-augmented captions for web images, from alt-text to a published release."""

import json
import sys
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, NoReturn

import typer
from typer.exceptions import Abort, TyperException

from kale_tasks import __version__
from kale_tasks.cli import (
    advise,
    airflow,
    bench,
    canary,
    evaluate,
    explore,
    inspect,
    landing,
    maintain,
    models,
    quality,
    recipe,
    release,
    repair,
    review,
    run,
    sample,
    takedown,
)
from kale_tasks.cli.pandas_later import import_pandas_later
from kale_tasks.errors import BadConfig, Blocked, KaleError, Paused
from kale_tasks.garbage import collect_rarely

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
_debug = False
# The extra of this package that brings a module.
_EXTRAS = {
    "airflow": "airflow", "pyspark": "spark", "torch": "train", "transformers": "train", "safetensors": "train",
    "tokenizers": "train", "huggingface_hub": "publish", "httpx2": "publish", "vllm": "gpu",
    "obstore": "clouds", "lance": "lance",
}  # fmt: skip


# Commands and groups of commands by the panel of `kale --help`, each with an example.
_COMMANDS: dict[str, list[tuple[Callable[..., None] | typer.Typer, str]]] = {
    "Start": [
        (explore.quickstart, "kale quickstart photos --server http://127.0.0.1:8000/v1"),
        (explore.try_, 'kale try photo.jpg "Atomium, Brussels (1958)"'),
        (airflow.demo, "kale demo --keys 1 --pairs 100"),
        (sample.app, "kale sample make --pairs 1000 --out landing"),
    ],
    "Run": [
        (landing.adopt, "kale adopt archives/laion --key laion-001"),
        (advise.estimate, "kale estimate --key 2026-11-01 --gpus 8 --price 2.5"),
        (run.run, "kale run ingest --key 2026-11-01"),
        (run.plan, "kale plan ingest --key 2026-11-01 --json"),
        (run.work, "kale work ingest --key 2026-11-01 --fingerprint 0123456789abcdef0123 --chunk 0"),
        (run.seal, "kale seal ingest --key 2026-11-01 --fingerprint 0123456789abcdef0123"),
        (models.training, "kale distill train --key all"),
        (run.commit, "kale commit ingest --key 2026-11-01 --fingerprint 0123456789abcdef0123"),
    ],
    "Inspect": [
        (landing.app, "kale landing check 2026-11-01"),
        (inspect.status, "kale status"),
        (advise.watch, "kale watch"),
        (explore.look, "kale look --key 2026-11-01 -n 10"),
        (inspect.pending, "kale pending --json"),
        (inspect.show, "kale show captions --key 2026-11-01 --out captions.csv"),
        (advise.explain, "kale explain robots_disallowed"),
        (inspect.history, "kale history captions --key 2026-11-01"),
        (inspect.diff, "kale diff captions 1234567890123456789 2345678901234567890"),
    ],
    "Quality": [
        (quality.check, "kale check ingest --key 2026-11-01"),
        (quality.report, "kale report --key 2026-11-01 --open"),
        (evaluate.app, "kale evaluate downstream --cost"),
        (evaluate.power, "kale power --difference 0.5"),
        (models.app, "kale models list"),
        (recipe.app, "kale recipe show kale"),
        (canary.app, "kale canary start --key 2026-11-01 --recipe rank-and-fuse"),
        (review.app, "kale review export --key 2026-11-01 --out votes.jsonl"),
    ],
    "Publish": [
        (release.app, "kale release diff --key all"),
        (release.publish, "kale publish --key all"),
        (inspect.export, "kale export sft --key 2026-11-01 --out lessons.jsonl"),
        (takedown.takedown, "kale takedown --list - < requests.txt"),
    ],
    "Operate": [
        (maintain.init, "kale init"),
        (maintain.config, "kale config"),
        (maintain.maintain, "kale maintain --dry-run"),
        (repair.verify, "kale verify --sample 0.1"),
        (repair.repair, "kale repair --key 2026-11-01"),
        (repair.rollback, 'kale rollback ingest --key 2026-11-01 --to 0123456789abcdef0123 --because "wrong list"'),
        (maintain.relocate, "kale relocate --set warehouse=/data/copy"),
        (maintain.doctor, "kale doctor"),
        (bench.app, "kale bench caption --set caption.engine=transformers"),
        (airflow.up, "kale up"),
        (airflow.down, "kale down"),
    ],
}
_GROUP_NAMES = {
    id(bench.app): "bench",
    id(canary.app): "canary",
    id(models.training): "distill",
    id(evaluate.app): "evaluate",
    id(landing.app): "landing",
    id(models.app): "models",
    id(recipe.app): "recipe",
    id(release.app): "release",
    id(review.app): "review",
    id(sample.app): "sample",
}


def _print_version(requested: bool) -> None:
    if requested:
        print(f"kale {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    global _debug  # noqa: PLW0603 - the one switch of the process
    _debug = debug


for _panel, _entries in _COMMANDS.items():
    for _command, _example in _entries:
        if isinstance(_command, typer.Typer):
            name = _GROUP_NAMES[id(_command)]
            app.add_typer(_command, name=name, rich_help_panel=_panel, epilog=f"Example: {_example}")
        else:
            name = _command.__name__.rstrip("_").replace("_", "-")  # `try` is a word of Python
            app.command(name, rich_help_panel=_panel, epilog=f"Example: {_example}")(_command)
app.command(hidden=True)(maintain.note)


@cache
def command() -> Callable[..., Any]:
    """The command line, made once by a process."""
    return typer.main.get_command(app)


def main() -> NoReturn:
    """Run the command. An error is one line on stderr, and an exit code that a scheduler can read."""
    collect_rarely()
    import_pandas_later()
    try:
        code = command()(standalone_mode=False)
    except Paused as error:
        print(json.dumps({"resumes_at": error.resumes_at and error.resumes_at.isoformat()}))  # a scheduler waits for it
        _fail(error, error.exit_code)
    except Blocked as error:
        print(json.dumps({"blocked": error.fingerprint}))  # a scheduler asks a person
        _fail(error, error.exit_code)
    except KaleError as error:
        _fail(error, error.exit_code)
    except TyperException as error:
        if message := error.format_message().strip():
            stop = "" if message.endswith((".", "?", "!")) else "."
            _fail(BadConfig(f"{message}{stop} See `kale --help` and `kale COMMAND --help`."), BadConfig.exit_code)
        raise SystemExit(BadConfig.exit_code) from None  # a group without a command has printed its help
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
