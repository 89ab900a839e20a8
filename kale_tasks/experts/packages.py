"""Packages that have small models inside: their versions, and what to do when one is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version

from kale_tasks.errors import BadConfig

EXTRA = "kale-tasks[experts]"


@contextmanager
def needs(name: str) -> Iterator[None]:
    """Turn a failed import into a BadConfig that says what to install."""
    try:
        yield
    except ImportError as error:
        raise BadConfig(f"'{name}' needs a package that is missing ({error.name}). Install {EXTRA}.") from error


def packaged(package: str, name: str) -> str:
    """Return package@version, which pins a model; BadConfig if it is not installed."""
    try:
        return f"{package}@{version(package)}"
    except PackageNotFoundError:
        raise BadConfig(f"'{name}' needs the package {package}, which is missing. Install {EXTRA}.") from None
