"""A real Spark cluster: a standalone master and two workers."""

import json
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError

import pyspark
import pytest

from tests.services.server import HOST, Server, free_port, listens, server_folder, wait_until

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class SparkCluster:
    """`url` is for `SparkSession.builder.master`; a worker that is killed takes its executors with it."""

    url: str
    status_url: str
    workers: list[Server]

    def wait_for(self, workers: int) -> None:
        """Returns when the master counts on that many workers."""
        wait_until(lambda: self._counts_on(workers), f"the master to see {workers} workers")

    def _counts_on(self, workers: int) -> bool:
        try:
            with urllib.request.urlopen(self.status_url, timeout=5) as answer:
                return bool(json.load(answer)["aliveworkers"] == workers)
        except (HTTPError, json.JSONDecodeError):  # it has begun to listen, and is not ready to answer
            return False


@contextmanager
def running_spark() -> Iterator[SparkCluster]:
    """A cluster for as long as the block lasts."""
    with server_folder("spark") as folder, ExitStack() as servers:
        port, page = free_port(), free_port()
        master = ["master.Master", "--host", HOST, "--port", str(port), "--webui-port", str(page)]
        servers.enter_context(daemon(master, folder / "master", ready=lambda: listens(page)))
        url = f"spark://{HOST}:{port}"
        worker = ["worker.Worker", "--host", HOST, "--webui-port", "0", "--cores", "1", "--memory", "1g", url]
        workers = [daemon(worker, folder / name, ready=lambda: True) for name in ("worker-1", "worker-2")]
        for started in workers:
            servers.enter_context(started)
        cluster = SparkCluster(url, f"http://{HOST}:{page}/json/", workers)
        cluster.wait_for(workers=2)
        yield cluster


def daemon(
    arguments: list[str], folder: Path, ready: Callable[[], bool], *, address: str = HOST, inside: Sequence[str] = ()
) -> Server:
    """Start a master or a worker; `inside` begins a command that runs on another host."""
    folder.mkdir()
    home = Path(pyspark.__file__).parent
    env = {
        "SPARK_HOME": str(home),
        "SPARK_WORKER_DIR": str(folder),
        "SPARK_LOCAL_DIRS": str(folder),
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_LOCAL_IP": address,
        "SPARK_DAEMON_JAVA_OPTS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dspark.master.rest.enabled=false",
        "PYTHONPATH": str(ROOT),
    }
    command = [*inside, str(home / "bin" / "spark-class"), f"org.apache.spark.deploy.{arguments[0]}", *arguments[1:]]
    return Server(command, folder / "log", ready, env)


@pytest.fixture(scope="module")
def spark_cluster() -> Iterator[SparkCluster]:
    """A cluster for the tests of one file, which may kill its workers."""
    with running_spark() as cluster:
        yield cluster
