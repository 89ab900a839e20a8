"""A real Redis."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.services.server import HOST, Server, free_port, listens, server_folder


@contextmanager
def running_redis() -> Iterator[str]:
    """The URL of a Redis that lasts as long as the block."""
    port = free_port()
    with server_folder("redis") as folder:
        command = ["redis-server", "--bind", HOST, "--port", str(port), "--save", "", "--dir", str(folder)]
        with Server(command, folder / "log", lambda: listens(port)):
            yield f"redis://{HOST}:{port}/0"


@pytest.fixture(scope="session")
def redis() -> Iterator[str]:
    """The URL of one Redis for all tests."""
    with running_redis() as url:
        yield url
