"""What can happen to a service, and when it is made to happen."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.containers.site import Site, run, wait

_PARTITION_SECONDS = 60
_WORK_SECONDS = 600.0  # until the processes of a task have started on a busy machine


@dataclass(frozen=True)
class Fault:
    """Something that happens to a service while a task runs; an empty task: any."""

    name: str
    service: str
    task: str
    inject: Callable[[Site, str], None]

    @property
    def title(self) -> str:
        """What the table says."""
        return f"{self.name} {self.service}"


def kill(site: Site, service: str) -> None:
    """Kill all processes of a container, as the machine would; the engine starts it again."""
    for one in site.containers(service):
        run("kill", "-9", str(one["State"]["Pid"]))


def lose(site: Site, service: str) -> None:
    """Kill the first container of a service that is at work; it does not come back."""
    wait(lambda: any(map(_is_at_work, site.containers(service))), _WORK_SECONDS, lambda: f"no {service} is at work")
    run("docker", "rm", "-f", next(one["Id"] for one in site.containers(service) if _is_at_work(one)))


def restart(site: Site, service: str) -> None:
    """Restart a service as an operator does."""
    site.compose("restart", "-t", "10", service)


def evict(site: Site, service: str) -> None:
    """Stop a service with a grace of two seconds, as a spot node does, and start it elsewhere."""
    site.compose("stop", "-t", "2", service)
    site.compose("up", "-d", "--no-build", "--no-deps", service)


def partition(site: Site, service: str) -> None:
    """Drop every packet between a service and the database for a while."""
    (one,), (database,) = site.containers(service), site.containers("postgres")
    address = next(iter(database["NetworkSettings"]["Networks"].values()))["IPAddress"]
    inside = ["nsenter", "-t", str(one["State"]["Pid"]), "-n", "iptables"]
    rules = [["INPUT", "-s", address, "-j", "DROP"], ["OUTPUT", "-d", address, "-j", "DROP"]]
    for rule in rules:
        run(*inside, "-I", *rule)
    time.sleep(_PARTITION_SECONDS)
    for rule in rules:
        run(*inside, "-D", *rule)


def _is_at_work(container: dict[str, object]) -> bool:
    top = run("docker", "top", str(container["Id"]), "-eo", "pid,args")  # without pid the engine refuses
    return "kale_tasks" in top or "CoarseGrainedExecutorBackend" in top


# In each list the faults of one key, in the order of its tasks.
ROUNDS = [
    [
        Fault("kill -9", "spark-worker", "ingest", kill),
        Fault("kill -9", "postgres", "images.work", kill),
        Fault("kill -9", "redis", "dense.work", kill),
        Fault("kill -9", "scheduler", "fused.work", kill),
    ],
    [
        Fault("kill -9", "spark-master", "ingest", kill),
        Fault("kill -9", "seaweedfs", "images.work", kill),
        Fault("kill -9", "celery-worker", "dense.work", kill),
        Fault("kill -9", "api-server", "fused.work", kill),
    ],
    [
        Fault("kill -9", "triggerer", "ingest", kill),
        Fault("kill -9", "dag-processor", "ingest", kill),
        Fault("partition from the database of", "celery-worker", "dense.work", partition),
        Fault("SIGTERM with 2 s of grace to", "celery-worker", "fused.work", evict),
    ],
    [
        Fault("restart", "spark-master", "ingest", restart),
        Fault("restart", "triggerer", "ingest", restart),
        Fault("restart", "postgres", "images.work", restart),
        Fault("restart", "seaweedfs", "dense.plan", restart),
        Fault("restart", "redis", "dense.work", restart),
        Fault("restart", "scheduler", "dense.seal", restart),
        Fault("restart", "api-server", "fused.work", restart),
        Fault("restart", "dag-processor", "fused.seal", restart),
        Fault("restart", "celery-worker", "caption.work", restart),
        Fault("restart", "spark-worker", "caption.seal", restart),
    ],
]
LOSSES = [
    [
        Fault("lost for good: one of two", "spark-worker", "ingest", lose),
        Fault("lost for good: one of two", "celery-worker", "dense.work", lose),
    ],
]
