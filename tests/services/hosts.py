"""Hosts with addresses of their own on this machine: network namespaces that a bridge joins."""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from shutil import which


@dataclass(frozen=True)
class Host:
    """A network namespace; its processes see no address of this machine but its own."""

    address: str
    name: str

    @property
    def inside(self) -> Sequence[str]:
        """How a command begins that runs there."""
        return inside(self.name)

    def lose(self) -> None:
        """Cut its cable, then kill all of its processes, as a power failure does: nobody hears of it."""
        ip(self.name, ["link set eth down"])
        found = subprocess.run(["ip", "netns", "pids", self.name], check=True, capture_output=True, text=True)
        for pid in found.stdout.split():
            os.kill(int(pid), signal.SIGKILL)


def may_make_namespaces() -> bool:
    """Return whether this user may make network namespaces."""
    name = f"kale{os.getpid()}-try"
    if not which("ip"):
        return False
    if subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True).returncode:
        return False
    subprocess.run(["ip", "netns", "delete", name], check=True)
    return True


@contextmanager
def hosts(count: int, network: str = "10.78.0") -> Iterator[list[Host]]:
    """Make hosts that reach each other, and nothing else."""
    names = [f"kale{os.getpid()}-host{number}" for number in range(count)]
    with ExitStack() as stack:
        switch = f"kale{os.getpid()}-switch"
        make_namespace(stack, switch, ["link add bridge type bridge", "link set bridge up"])
        for number, name in enumerate(names):
            make_namespace(stack, name, [f"link add eth type veth peer name port{number} netns {switch}"])
            ip(name, [f"address add {network}.{number + 1}/24 dev eth", "link set eth up", "link set lo up"])
            ip(switch, [f"link set port{number} master bridge up"])
        yield [Host(f"{network}.{n + 1}", name) for n, name in enumerate(names)]


def inside(namespace: str) -> list[str]:
    """Return how a command begins that runs in a namespace."""
    return ["ip", "netns", "exec", namespace]


def make_namespace(stack: ExitStack, name: str, lines: list[str]) -> None:
    """Make a network namespace until the stack is closed, and set it up."""
    subprocess.run(["ip", "netns", "add", name], check=True)
    stack.callback(subprocess.run, ["ip", "netns", "delete", name], check=True)
    ip(name, lines)


def ip(namespace: str, lines: list[str]) -> None:
    """Run commands of `ip` in a namespace."""
    subprocess.run(["ip", "-n", namespace, "-batch", "-"], input="\n".join(lines).encode(), check=True)
