"""What a forked process does differently: it stops or dies at an event, sees a later time, or skips costly checks."""

import os
import pkgutil
import signal
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any

import kale_tasks
from kale_tasks.text.language import WEB_LANGUAGES, detect_language

_HEAVY = ("airflow", "distill", "experts", "spark", "transformers", "ui", "vllm_worker", "world", "__main__")
_LAZY = (
    "duckdb", "great_expectations", "pyarrow.acero", "pydantic.type_adapter", "pyiceberg.avro.decoder_fast",
    "pyiceberg.catalog.sql", "PIL.JpegImagePlugin", "PIL.ImageSequence", "PIL.ImageChops", "kale_tasks.distill.step",
    "tests.operations.checks",
)  # fmt: skip

COMMIT = "commit_table"


def import_all() -> None:
    """Import what commands import, so that no fork does, and switch off what only slows them down."""
    for package in pkgutil.walk_packages(kale_tasks.__path__, "kale_tasks."):
        if not set(_HEAVY) & set(package.name.split(".")):
            import_module(package.name)
    for name in _LAZY:
        import_module(name)
    detect_language("This loads the model.", WEB_LANGUAGES)
    import_module("kale_tasks.cli.app").command()
    import_module("kale_tasks.quality.suite").find_suite("ingest")  # looks at the metadata of every package
    os.fsync = lambda _: None  # processes die here, machines do not


def without_expectations() -> None:
    """Judge runs by their figures alone: expectations on single rows, and reports, take most of a tiny key's time."""
    from kale_tasks.quality import check, report

    check.check_rows = lambda *_: None
    report.make_report = lambda *_: None


def count_events(kind: str, event: int, of: str = "") -> None:
    """Make this process stop or die at its n-th write to the store or commit to the catalog.

    `of` counts some of them only: the writes of files whose path has this text in it, or commits only.
    """
    from pyiceberg.catalog.sql import SqlCatalog

    from kale_tasks.lake.storage.folder import FolderStorage
    from kale_tasks.lake.storage.s3 import S3Storage

    seen = 0

    def counted(original: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal seen
            counts = of in (name if name == COMMIT else args[1])
            seen += counts
            if counts and seen == event:
                os.kill(os.getpid(), signal.SIGKILL if kind == "kill" else signal.SIGSTOP)
            return original(*args, **kwargs)

        return call

    writes = ("put", "_put_if", "delete")
    for owner, names in ((FolderStorage, writes), (S3Storage, writes), (SqlCatalog, (COMMIT,))):
        for name in names:
            setattr(owner, name, counted(getattr(owner, name), name))


def move_clock(days: float) -> None:
    """Let the modules of the project see a later time."""
    ahead = timedelta(days=days)

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + ahead

    for name, module in list(sys.modules.items()):
        if name.startswith("kale_tasks.") and getattr(module, "datetime", None) is datetime:
            module.datetime = Later  # type: ignore[attr-defined]
