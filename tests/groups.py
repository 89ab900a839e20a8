"""Pytest plugin: which servers a test needs, and which tests share a worker when several workers run (`pytest -n 2`).

Tests that need the same server run on one worker, so that each server is started once. The other tests of a file stay
together, so that what a module's fixtures make is made once.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.budgets import budgets

# Fixture, or file, to the group of tests that share its server. One group for S3 and PostgreSQL: lakes use both.
SERVER_FIXTURES = {
    "s3": "lake servers",
    "s3_sets": "lake servers",  # this and the next ask for "s3" while they run
    "on_s3": "lake servers",
    "postgres": "lake servers",
    "redis": "lake servers",
    "spark_cluster": "spark",
    "chromium": "chromium",
}
SERVER_FILES = {  # these start a server, or an interpreter of .venv-vllm, of their own
    "tests/e2e/chain/": "airflow",
    "tests/ui/": "chromium",
    "tests/world/test_conformance.py": "vllm",
    "tests/engines/test_engines.py": "vllm",
    "tests/distill/test_parallel.py": "vllm",
    "tests/services/": "services",
}
SLOW_SECONDS = 10  # a file that takes longer is no part of `make check`


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    config.addinivalue_line("markers", "server: needs a server, a browser or vLLM on this machine (set by itself)")
    config.addinivalue_line("markers", "slow: is no part of `make check` (set by itself for files with a long budget)")
    config.addinivalue_line("markers", "xdist_group(name): shares a worker with the tests of that name (set by itself)")
    config.addinivalue_line("markers", "nightly: takes minutes; run by `make nightly` and `make test`")


@pytest.hookimpl(tryfirst=True)  # before -m selects by these marks, and before xdist reads the groups
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Mark every test with its group, and those that need a server or much time."""
    seconds = budgets()
    for item in items:
        server, file = server_of(item), item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(server or file))
        if server:
            item.add_marker(pytest.mark.server)
        if seconds.get(file, 0) > SLOW_SECONDS or item.get_closest_marker("nightly"):
            item.add_marker(pytest.mark.slow)


def server_of(item: pytest.Item) -> str | None:
    """The group of the server that a test needs; None if it needs none."""
    file = Path(item.nodeid.partition("::")[0]).as_posix()
    for start, group in SERVER_FILES.items():
        if file.startswith(start):
            return group
    parameters = getattr(getattr(item, "callspec", None), "params", {}).values()  # lakes ask for their servers by name
    names = {*getattr(item, "fixturenames", ()), *(value for value in parameters if isinstance(value, str))}
    return next((group for fixture, group in SERVER_FIXTURES.items() if fixture in names), None)
