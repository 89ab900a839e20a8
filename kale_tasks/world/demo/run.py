"""The demonstration from beginning to end."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console

from kale_tasks.airflow.standalone import PASSWORD, USER, StandaloneAirflow, check_port
from kale_tasks.captions.steps import steps_of
from kale_tasks.lake.tables import Lake
from kale_tasks.pending import pending_work
from kale_tasks.settings import Settings, load
from kale_tasks.status import all_states
from kale_tasks.world.demo.chain import Chain
from kale_tasks.world.demo.results import print_results
from kale_tasks.world.demo.view import View
from kale_tasks.world.web import running
from kale_tasks.world.write import write_landing

_POLL_SECONDS = 2
_QUIET_POLLS = 3  # a finished Dag run triggers the next one within a second or two


def run_demo(folder: Path, port: int, keys: int, pairs: int, stay: bool | None) -> None:
    """Write a sample world, start Airflow, run all Dags on it and print the results.

    With `stay` (default: on a terminal) Airflow's pages stay open until ctrl-C. However the demonstration ends, Airflow
    is stopped. An interrupt before the results raises KeyboardInterrupt.
    """
    started, console = time.monotonic(), Console()
    for number in (port, port + 1):  # before anything is written
        check_port(number)
    environment = _environment(folder, keys * pairs)
    settings = load(environ={**os.environ, **environment}).settings
    airflow = StandaloneAirflow(folder / "airflow", environment, port)
    with _sigterm_interrupts(), running(port + 1) as web:  # a fixed port: the URLs of the pairs contain it
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "env").write_text("".join(f"{name}='{value}'\n" for name, value in environment.items()))
            console.print(f"Writing a sample world of {keys} keys with {pairs} pairs each to {settings.landing}.")
            Lake(settings)  # creates it: commands of tasks refuse a missing lake
            names = write_landing(Path(settings.landing), keys, pairs, web.url)
            console.print(f"Its images are served at {web.url}.")
            console.print("Starting Airflow, which takes about half a minute on an idle machine ...")
            airflow.start()
            console.print(f"Airflow: {airflow.url} (user {USER}, password {PASSWORD})")
            if is_done(Lake(settings), settings, names):
                console.print(f"Everything is there from an earlier run. To start from nothing, delete {folder}.")
            else:
                _run_chain(airflow, Lake(settings), settings, names, console)
            console.print(f"Finished in {time.monotonic() - started:.0f} s, including Airflow's start.")
            print_results(Lake(settings), settings, names, console)
            console.print(f"Logs: {folder / 'airflow'}")
            if sys.stdout.isatty() if stay is None else stay:
                console.print(f"Reports: {airflow.url}/kale/report/{names[0]} (user {USER}, password {PASSWORD})")
                _wait_for_interrupt("The pages stay open until you press ctrl-C.", console)
        finally:
            if airflow.groups:
                console.print("Stopping Airflow ...")
                airflow.stop()


def _environment(folder: Path, pairs: int) -> dict[str, str]:
    return {
        "KALE_PROFILE": "demo",
        "KALE_LANDING": str(folder / "landing"),
        "KALE_WAREHOUSE": str(folder / "warehouse"),
        "KALE_PUBLISH__TARGET": str(folder / "published"),
        "KALE_IMAGES__SPOOL": str(folder / "spool"),
        "KALE_IMAGES__FETCH__CONTACT": "whoever runs this demonstration",
        "KALE_IMAGES__FETCH__ALLOW": "[127.0.0.1/32]",  # the sample web
        "KALE_IMAGES__FETCH__HOST_RATE": "200",
        "KALE_IMAGES__FETCH__SECONDS": "5",
        "OMP_WAIT_POLICY": "PASSIVE",  # many processes share the cores, so idle threads must not spin
        "KALE_SCHEDULE__DISTILL_NEW_ROWS": str(pairs // 5),  # a quarter of the pairs become stage-1 captions
    }


def is_done(lake: Lake, settings: Settings, keys: Sequence[str]) -> bool:
    """Whether the chain has nothing to make: every step of every key is up to date, and all of it is released."""
    states = {(row["key"], row["step"]): row["state"] for row in all_states(lake, settings)}
    made = [states.get((key, spec.label)) for spec in steps_of(settings) if spec.per_key for key in keys]
    released = pending_work(lake, settings)["release"] == [] and Path(str(settings.publish.target)).exists()
    return released and set(made) == {"committed"}


def _run_chain(
    airflow: StandaloneAirflow, lake: Lake, settings: Settings, keys: Sequence[str], console: Console
) -> None:
    chain = Chain(airflow.rest, keys)
    chain.unpause()
    chain.backfill()
    quiet = 0
    with View(console, lake, settings, keys, airflow.url) as view:
        while quiet < _QUIET_POLLS:
            time.sleep(_POLL_SECONDS)
            cells = chain.cells()
            view.show(cells)
            quiet = quiet + 1 if chain.finished(cells) else 0


def _wait_for_interrupt(message: str, console: Console) -> None:
    with suppress(KeyboardInterrupt):
        console.print(message)
        threading.Event().wait()


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Handle SIGTERM like ctrl-C."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
