"""A web of many hosts and machines that fetch from it, each in a network namespace with addresses of its own."""

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.images.plain import image
from tests.services.hosts import inside, ip, make_namespace

PORT, ANSWER_SECONDS = 8080, 0.05
_WEB = f"kale{os.getpid()}-web"
_NETWORK = "10.77"


def url(host: int, number: int) -> str:
    """Return the URL of an image on a host, which has an address of its own."""
    return f"http://{_NETWORK}.200.{host + 1}:{PORT}/{number}.jpg"


@contextmanager
def network(machines: int, hosts: int, log: Path) -> Iterator[list[list[str]]]:
    """Run the web, which writes each request to `log`; yields for each machine the prefix of commands to run on it."""
    with ExitStack() as stack:
        lines = ["link add web type bridge", "link set web up", f"address add {_NETWORK}.0.1/16 dev web"]
        lines += [f"address add {_NETWORK}.200.{host + 1}/16 dev web" for host in range(hosts)]
        make_namespace(stack, _WEB, lines)
        names = [f"kale{os.getpid()}-{number}" for number in range(machines)]
        for number, name in enumerate(names):
            make_namespace(stack, name, [f"link add eth type veth peer name eth{number} netns {_WEB}"])
            address = [f"address add {_NETWORK}.1.{number + 1}/16 dev eth", "link set eth up", "link set lo up"]
            ip(name, address)
            ip(_WEB, [f"link set eth{number} master web up"])
        command = [*inside(_WEB), sys.executable, "-m", "tests.images.machines", str(log)]
        web = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
        stack.callback(web.kill)
        assert web.stdout
        assert web.stdout.readline() == b"ready\n"
        yield [inside(name) for name in names]


class Seen:
    """The requests to one host, as the web saw them."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.first: dict[str, str] = {}  # path of the first request, by machine
        self.connections = self.requests = 0  # most of them open at once

    def busiest(self, seconds: float) -> int:
        """Return the most requests in any interval of this length."""
        return max(sum(start <= at < start + seconds for at in self.times[i:]) for i, start in enumerate(self.times))

    @property
    def rate(self) -> float:
        """Requests a second, from the first to the last."""
        return (len(self.times) - 1) / max(self.times[-1] - self.times[0], 0.001)


def seen(log: Path) -> dict[str, Seen]:
    """Read the log of the web, by host."""
    found: dict[str, Seen] = defaultdict(Seen)
    for line in log.read_text().splitlines():
        at, host, machine, path, connections, requests = line.split()
        one = found[host]
        one.times.append(float(at))
        one.first.setdefault(machine, path)
        one.connections = max(one.connections, int(connections))
        one.requests = max(one.requests, int(requests))
    return found


async def _serve(log: Path) -> None:
    connections, requests = Counter[str](), Counter[str]()
    with log.open("w", buffering=1) as out:

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            host, machine = (writer.get_extra_info(name)[0] for name in ("sockname", "peername"))
            connections[host] += 1
            try:
                while True:
                    path = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode()
                    requests[host] += 1
                    out.write(f"{time.monotonic()} {host} {machine} {path} {connections[host]} {requests[host]}\n")
                    await asyncio.sleep(ANSWER_SECONDS)
                    number = path.strip("/").removesuffix(".jpg")
                    body = image(int(number) % 500) if number.isdigit() else b""
                    status = "200 OK" if body else "404 None"
                    writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
                    requests[host] -= 1
                    await writer.drain()
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                connections[host] -= 1
                writer.close()

        server = await asyncio.start_server(answer, "0.0.0.0", PORT, backlog=1000)
        print("ready", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
