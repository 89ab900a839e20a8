"""A real S3: Ceph's gateway over one monitor and one object store, unpacked by scripts/ceph."""

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from string import Template

import boto3
import pytest
from botocore.client import BaseClient
from botocore.config import Config

from tests.services.server import HOST, Server, free_port, listens, server_folder

ROOT = Path(__file__).parents[2] / ".cache" / "ceph"
ACCESS_KEY, SECRET_KEY, REGION = "KALETEST", "kale-test-secret", "us-east-1"
# name -> what it may do
ACCOUNTS = {
    "mon.": {"mon": "allow *"},
    "client.admin": {"mon": "allow *", "osd": "allow *"},
    "osd.0": {"mon": "allow profile osd", "osd": "allow *"},
    "client.rgw": {"mon": "allow rw", "osd": "allow rwx"},
}


class Ceph:
    """Ceph's programs, run from the unpacked packages with the data and the configuration in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.s3_port, self.mon_port, self.fsid = folder, free_port(), free_port(), str(uuid.uuid4())
        libraries = next((ROOT / "usr/lib").glob("*/ceph")).parent
        self.env = {
            "LD_LIBRARY_PATH": f"{libraries}:{libraries / 'ceph'}:{ROOT / 'lib' / libraries.name}",
            "CEPH_CONF": str(folder / "ceph.conf"),
        }
        values = {"fsid": self.fsid, "mon_port": self.mon_port, "s3_port": self.s3_port, "libraries": libraries}
        template = Template((Path(__file__).parent / "ceph.conf").read_text())
        (folder / "ceph.conf").write_text(template.substitute(values, folder=folder))

    def run(self, program: str, *arguments: str) -> None:
        """Runs one of Ceph's programs to its end."""
        command = [str(ROOT / "usr/bin" / program), *arguments]
        subprocess.run(command, env=self.env, cwd=self.folder, check=True, capture_output=True)

    def server(self, program: str, name: str, port: int | None = None) -> Server:
        """One of Ceph's servers, ready when its port answers."""
        command = [str(ROOT / "usr/bin" / program), "-f", "-n", name]
        return Server(command, self.folder / f"{name}.log", lambda: port is None or listens(port), self.env)

    def make(self) -> None:
        """Writes the keys and maps of a new cluster, complete, so that its servers need no further word to start."""
        (self.folder / "mon").mkdir()
        (self.folder / "osd").mkdir()
        self.run("ceph-authtool", "--create-keyring", "keyring")
        for name, caps in ACCOUNTS.items():
            options = [option for service, cap in caps.items() for option in ("--cap", service, cap)]
            self.run("ceph-authtool", "keyring", "--gen-key", "-n", name, *options)
        address = f"[v2:{HOST}:{self.mon_port}]"
        self.run("monmaptool", "--create", "--fsid", self.fsid, "--addv", "a", address, "monmap")
        self.run("osdmaptool", "--createsimple", "1", "osdmap")
        maps = ["--monmap", "monmap", "--osdmap", "osdmap", "--keyring", "keyring"]
        self.run("ceph-mon", "--mkfs", "-i", "a", *maps)


@dataclass(frozen=True)
class S3:
    """An S3 server with one account. `stop()` takes it away in the middle of what it does, `start()` brings it back."""

    endpoint: str
    gateway: Server
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    region: str = REGION
    _numbers: Iterator[int] = field(default_factory=count)

    def client(self, secret_key: str = SECRET_KEY) -> BaseClient:
        """A client that gives up soon."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=secret_key,
            region_name=self.region,
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=20),
        )

    def bucket(self) -> str:
        """The name of a new, empty bucket."""
        name = f"kale-{next(self._numbers)}"
        self.client().create_bucket(Bucket=name)
        return name

    def stop(self) -> None:
        """Nothing answers any more."""
        self.gateway.kill()

    def start(self) -> None:
        """It answers again, with all that it kept."""
        self.gateway.start()


@contextmanager
def running_s3() -> Iterator[S3]:
    """An S3 server for as long as the block lasts."""
    with server_folder("s3") as folder, ExitStack() as servers:
        ceph = Ceph(folder)
        ceph.make()
        servers.enter_context(ceph.server("ceph-mon", "mon.a", ceph.mon_port))
        ceph.run("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", str(uuid.uuid4()))
        servers.enter_context(ceph.server("ceph-osd", "osd.0"))
        account = ["--uid", "kale", "--display-name", "kale", "--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]
        ceph.run("radosgw-admin", "user", "create", *account)
        gateway = servers.enter_context(ceph.server("radosgw", "client.rgw", ceph.s3_port))
        yield S3(f"http://{HOST}:{ceph.s3_port}", gateway)


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """One S3 server for all tests; a test that stops it starts it again."""
    with running_s3() as server:
        yield server
