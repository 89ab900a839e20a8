"""`kale up`, `kale down` and `kale demo`: an Airflow on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from kale_tasks.cli.options import settings
from kale_tasks.errors import BadConfig

Folder = Annotated[Path, typer.Option(help="Folder of the lake, the landing files and Airflow's own files.")]
DEFAULT_FOLDER = Path("kale-data")
DemoPort = Annotated[int, typer.Option(help="Port of Airflow's pages; the sample web uses the next one.")]


def up(
    folder: Folder = DEFAULT_FOLDER, port: Annotated[int, typer.Option(help="Port of Airflow's pages.")] = 8080
) -> None:
    """Start Airflow with KALE's Dags on this machine and leave it running. Its tasks use the settings of this shell.

    Creates the lake of these settings if it does not exist.
    """
    from kale_tasks.airflow.standalone import PASSWORD, USER, StandaloneAirflow
    from kale_tasks.lake.tables import Lake

    Lake(settings(None))
    airflow = StandaloneAirflow(folder / "airflow", {}, port)
    try:
        airflow.start()
    except BaseException:
        airflow.stop()
        raise
    print(f"Airflow: {airflow.url} (user {USER}, password {PASSWORD}); logs in {airflow.home}; `kale down` stops it.")


def down(folder: Folder = DEFAULT_FOLDER) -> None:
    """Stop the Airflow that `kale up` started."""
    from kale_tasks.airflow.standalone import stop_standalone

    if not stop_standalone(folder / "airflow"):
        raise BadConfig(f"No Airflow started by `kale up` or `kale demo` runs in {folder / 'airflow'}.")
    print("Airflow has stopped.")


def demo(
    folder: Folder = DEFAULT_FOLDER,
    port: DemoPort = 8080,
    keys: Annotated[int, typer.Option(min=1, max=28, help="Keys (days) of the sample world.")] = 3,
    pairs: Annotated[int, typer.Option(min=20, help="Image-text pairs per key.")] = 500,
    stay: Annotated[bool | None, typer.Option(help="Keep the pages open at the end (default: on a terminal).")] = None,
) -> None:
    """Run all Dags on a small sample world in a real Airflow, and show the results."""
    from kale_tasks.world.demo.run import run_demo

    run_demo(folder.resolve(), port, keys, pairs, stay)
