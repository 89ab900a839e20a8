"""The demonstration from beginning to end."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from kale_tasks.airflow.standalone import PASSWORD, USER, Airflow, check_free
from kale_tasks.lake.tables import Lake
from kale_tasks.settings import Settings, load
from kale_tasks.world.demo.chain import Chain
from kale_tasks.world.demo.results import results
from kale_tasks.world.demo.seed import seed
from kale_tasks.world.demo.view import View
from kale_tasks.world.web import running

_LOOK_SECONDS = 2
_QUIET_LOOKS = 3  # an announcement becomes a run within a second or two


def show(folder: Path, port: int, keys: int, pairs: int, stay: bool | None) -> None:
    """Seed, start Airflow, backfill, watch, show the results; everything ends with it, however it ends."""
    started, console = time.monotonic(), Console()
    environment = _environment(folder, keys * pairs)
    settings = load(environ={**os.environ, **environment}).settings
    airflow = Airflow(folder / "airflow", environment, port)
    with _ends_in_order(), _web(port + 1) as web:
        console.print(f"Sample world: {keys} keys of {pairs} pairs in {settings.landing}, their images on {web}")
        names = seed(Path(settings.landing), keys, pairs, web)
        try:
            console.print("Airflow starts: half a minute on an idle machine ...")
            airflow.start()
            console.print(f"Airflow: {airflow.url} (user {USER}, password {PASSWORD})")
            _watch(airflow, names, console)
            console.print(f"The chain took {time.monotonic() - started:.0f} s, start included.")
            _tell(settings, names, folder, console)
            if sys.stdout.isatty() if stay is None else stay:
                console.print(f"The pages stay open at {airflow.url}/kale/ until you press ctrl-C.")
                threading.Event().wait()
        except KeyboardInterrupt:
            console.print("Stopping Airflow ...")
        finally:
            airflow.stop()


def _environment(folder: Path, pairs: int) -> dict[str, str]:
    return {
        "KALE_PROFILE": "demo",
        "KALE_LANDING": str(folder / "landing"),
        "KALE_WAREHOUSE": str(folder / "warehouse"),
        "KALE_PUBLISH__TARGET": str(folder / "published"),
        "KALE_IMAGES__SPOOL": str(folder / "spool"),
        "KALE_IMAGES__FETCH__CONTACT": "the one who runs this demonstration",
        "KALE_IMAGES__FETCH__ALLOW": "[127.0.0.1/32]",  # where the sample web is
        "KALE_IMAGES__FETCH__HOST_RATE": "200",
        "KALE_IMAGES__FETCH__SECONDS": "5",
        "OMP_WAIT_POLICY": "PASSIVE",  # many processes share the cores: a thread that waits must not spin
        "KALE_SCHEDULE__DISTILL_NEW_ROWS": str(pairs // 5),  # a quarter of the pairs become stage-1 captions
    }


@contextmanager
def _web(port: int) -> Iterator[str]:
    """The sample web, always at the same port: the addresses of the pairs name it."""
    check_free(port)
    with running(port) as web:
        yield web.url


def _watch(airflow: Airflow, keys: Sequence[str], console: Console) -> None:
    chain = Chain(airflow.rest, keys)
    chain.unpause()
    chain.backfill()
    quiet = 0
    with View(console, keys, airflow.url) as view:
        while quiet < _QUIET_LOOKS:
            time.sleep(_LOOK_SECONDS)
            cells = chain.look()
            view.show(cells)
            quiet = quiet + 1 if chain.finished(cells) else 0


def _tell(settings: Settings, keys: Sequence[str], folder: Path, console: Console) -> None:
    for table in results(Lake(settings), settings, keys):
        console.print(table)
    console.print(f"The release: {settings.publish.target}")
    console.print(f"The lake:    KALE_WAREHOUSE={settings.warehouse} KALE_LANDING={settings.landing} kale status")
    console.print(f"The logs:    {folder / 'airflow'}")


@contextmanager
def _ends_in_order() -> Iterator[None]:
    """A termination request ends the demonstration like ctrl-C."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
