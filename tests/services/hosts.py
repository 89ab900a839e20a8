"""Hosts with addresses of their own on this machine: network namespaces that a bridge joins."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Host:
    """A network namespace; its processes see no address of this machine but its own."""

    address: str
    inside: Sequence[str]  # how a command begins that runs there


@contextmanager
def hosts(count: int, network: str = "10.78.0") -> Iterator[list[Host]]:
    """Make hosts that reach each other, and nothing else."""
    names = [f"kale{os.getpid()}-host{number}" for number in range(count)]
    with ExitStack() as stack:
        switch = f"kale{os.getpid()}-switch"
        _namespace(stack, switch, ["link add bridge type bridge", "link set bridge up"])
        for number, name in enumerate(names):
            _namespace(stack, name, [f"link add eth type veth peer name port{number} netns {switch}"])
            _ip(name, [f"address add {network}.{number + 1}/24 dev eth", "link set eth up", "link set lo up"])
            _ip(switch, [f"link set port{number} master bridge up"])
        yield [Host(f"{network}.{n + 1}", ["ip", "netns", "exec", name]) for n, name in enumerate(names)]


def _namespace(stack: ExitStack, name: str, lines: list[str]) -> None:
    subprocess.run(["ip", "netns", "add", name], check=True)
    stack.callback(subprocess.run, ["ip", "netns", "delete", name], check=True)
    _ip(name, lines)


def _ip(namespace: str, lines: list[str]) -> None:
    subprocess.run(["ip", "-n", namespace, "-batch", "-"], input="\n".join(lines).encode(), check=True)
