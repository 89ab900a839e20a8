"""A real PostgreSQL."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

import psycopg2
import pytest

from tests.services.server import HOST, Server, free_port, server_folder, wait_until

USER, PASSWORD = "kale", "kale-test"


class Postgres:
    """A PostgreSQL that asks for a password. `database()` makes an empty database for a test.

    With a `primary` it is a standby: it receives all that the other commits, and can take its place.
    """

    def __init__(self, folder: Path, primary: "Postgres | None" = None) -> None:
        self.port = free_port()
        self._numbers = count()
        account = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
        binaries = max(Path("/usr/lib/postgresql").glob("*/bin"))
        if account:
            shutil.chown(folder, account)
        if primary:
            _copy_cluster(binaries, folder, account, primary.port)
        else:
            _make_cluster(binaries, folder, account)
        options = {"listen_addresses": HOST, "port": self.port, "unix_socket_directories": "", "fsync": "off"}
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self._server = Server(
            [str(binaries / "postgres"), "-D", str(folder / "data"), *settings],
            log=folder / "log",
            ready=self._answers,
            user=account,
            stop_signal=signal.SIGINT,  # does not wait for clients to leave
        )
        self.start, self.stop, self.kill = self._server.start, self._server.stop, self._server.kill

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"kale_{next(self._numbers)}"
        self._ask(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg2://{USER}:{PASSWORD}@{HOST}:{self.port}/{name}"

    def commit_to_standby(self) -> None:
        """Let no commit end before the standby has it."""
        self._ask("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self._ask("SELECT pg_reload_conf()")
        wait_until(lambda: self._ask("SELECT sync_state FROM pg_stat_replication") == "sync", "the standby")

    def promote(self) -> None:
        """Make a standby the primary."""
        self._ask("SELECT pg_promote()")

    def _ask(self, query: str) -> object:
        with closing(psycopg2.connect(self._dsn("postgres"))) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(query)
            return cursor.fetchone()[0] if cursor.description and cursor.rowcount else None

    def _dsn(self, database: str) -> str:
        return f"postgresql://{USER}:{PASSWORD}@{HOST}:{self.port}/{database}"

    def _answers(self) -> bool:
        try:
            psycopg2.connect(self._dsn("postgres")).close()
        except psycopg2.OperationalError:
            return False
        return True


def _make_cluster(binaries: Path, folder: Path, account: str | None) -> None:
    password = folder / "password"
    password.write_text(PASSWORD)
    command = [str(binaries / "initdb"), "-D", str(folder / "data"), "-U", USER, "--auth=scram-sha-256"]
    command += [f"--pwfile={password}", "--encoding=UTF8", "--locale=C", "--no-sync"]
    subprocess.run(command, user=account, group=account, check=True, capture_output=True, cwd=folder)


def _copy_cluster(binaries: Path, folder: Path, account: str | None, port: int) -> None:
    command = [
        str(binaries / "pg_basebackup"),
        "-D",
        str(folder / "data"),
        "-h",
        HOST,
        "-p",
        str(port),
        "-U",
        USER,
        "-R",
    ]
    environment = {**os.environ, "PGPASSWORD": PASSWORD}
    options = {"user": account, "group": account, "cwd": folder, "env": environment}
    subprocess.run([*command, "--no-sync", "-c", "fast"], check=True, capture_output=True, **options)  # type: ignore[call-overload]


@contextmanager
def running_postgres(primary: Postgres | None = None) -> Iterator[Postgres]:
    """A PostgreSQL for as long as the block lasts."""
    with server_folder("postgres") as folder:
        server = Postgres(folder, primary)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL for all tests; a test that stops it starts it again."""
    with running_postgres() as server:
        yield server
