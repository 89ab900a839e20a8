"""Pytest plugin: which servers a test needs, and which tests share a worker when several workers run (`pytest -n 2`).

Tests that need the same server run on one worker, so that each server is started once. The other tests of a file stay
together, so that what a module's fixtures make is made once. The groups with the longest budgets begin first, so that
no worker ends with a long one while the others are idle (needs `--no-loadscope-reorder`).
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path

import pytest
import yaml

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
    "tests/distill/test_classes.py": "vllm",
    "tests/distill/test_parallel.py": "vllm",
    "tests/distill/test_vlm.py": "vllm",
    "tests/services/": "services",
}
FAULTS = Path(__file__).parent / "faults" / "faults.yaml"
CHECK_SECONDS = 120  # of tests without servers in `make check`, on two workers: the fastest files
UNLISTED_SECONDS = 15.0  # what a file without a budget is taken for: new ones must not make `make check` long


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    config.addinivalue_line("markers", "server: needs a server, a browser or vLLM on this machine (set by itself)")
    config.addinivalue_line(
        "markers", "slow: is no part of `make check` (set by itself for the files with the longest budgets)"
    )
    config.addinivalue_line("markers", "xdist_group(name): shares a worker with the tests of that name (set by itself)")
    config.addinivalue_line("markers", "fault: causes a fault of tests/faults/faults.yaml (set by itself)")
    config.addinivalue_line("markers", "further: a further variant of a fault; run by `make test-faults` only")
    config.addinivalue_line("markers", "nightly: takes minutes; run by `make nightly` only")
    config.addinivalue_line("markers", "any_store: promises what no store changes; on S3 it is `nightly`")


@pytest.hookimpl(tryfirst=True)  # before -m selects by these marks, and before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test with its group, and those that need a server or much time; put the longest groups first."""
    seconds, tests = budgets(), Counter(map(_file, items))
    servers = {item: server_of(item) for item in items}
    groups, needed, alone = dict[pytest.Item, str](), defaultdict[str, float](float), defaultdict[str, float](float)
    for item in items:
        if item.get_closest_marker("any_store") and "s3" in _parameters(item):
            item.add_marker(pytest.mark.nightly)
        file = _file(item)
        groups[item] = servers[item] or file
        needed[groups[item]] += seconds.get(file, UNLISTED_SECONDS) / tests[file]
        if not servers[item]:
            alone[file] += seconds.get(file, UNLISTED_SECONDS) / tests[file]
    slow, faults = (
        slow_files(alone),
        {test for row in yaml.safe_load(FAULTS.read_text("utf-8")) for test in row["tests"]},
    )
    for item in items:
        item.add_marker(pytest.mark.xdist_group(groups[item]))
        if item.nodeid.partition("[")[0] in faults:
            item.add_marker(pytest.mark.fault)
        if servers[item]:
            item.add_marker(pytest.mark.server)
        if _file(item) in slow or item.get_closest_marker("nightly"):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: (-needed[groups[item]], groups[item]))


def slow_files(seconds: Mapping[str, float]) -> set[str]:
    """Return the files beyond those that take CHECK_SECONDS together, the fastest first."""
    by_time = sorted(seconds, key=lambda file: seconds[file])
    totals = accumulate(seconds[file] for file in by_time)
    return {file for file, total in zip(by_time, totals, strict=True) if total > CHECK_SECONDS}


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _parameters(item: pytest.Item) -> list[str]:
    values = getattr(getattr(item, "callspec", None), "params", {}).values()
    return [value for value in values if isinstance(value, str)]


def server_of(item: pytest.Item) -> str | None:
    """The group of the server that a test needs; None if it needs none."""
    file = _file(item)
    for start, group in SERVER_FILES.items():
        if file.startswith(start):
            return group
    names = {*getattr(item, "fixturenames", ()), *_parameters(item)}  # lakes ask for their servers by name
    return next((group for fixture, group in SERVER_FIXTURES.items() if fixture in names), None)
