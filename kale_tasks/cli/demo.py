"""`kale demo`, `kale up` and `kale down`."""

from pathlib import Path
from typing import Annotated

import typer

from kale_tasks.errors import BadConfig

Folder = Annotated[Path, typer.Option(help="Folder of the landing files, the lake and Airflow.")]
Port = Annotated[int, typer.Option(help="Port of Airflow's pages; the sample web of the demonstration takes the next.")]
_FOLDER = Path("kale-data")


def demo(
    folder: Folder = _FOLDER,
    port: Port = 8080,
    keys: Annotated[int, typer.Option(min=1, max=28, help="Keys (days) of the sample world.")] = 3,
    pairs: Annotated[int, typer.Option(min=20, help="Pairs of each key.")] = 500,
    stay: Annotated[bool | None, typer.Option(help="Keep the pages open at the end (default: on a terminal).")] = None,
) -> None:
    """Run the whole chain on a small sample world in a real Airflow, and show what came out."""
    from kale_tasks.world.demo.show import show

    show(folder.resolve(), port, keys, pairs, stay)


def up(folder: Folder = _FOLDER, port: Port = 8080) -> None:
    """Start Airflow with the Dags on this machine, with the settings of this shell, and leave it running."""
    from kale_tasks.airflow.standalone import PASSWORD, USER, Airflow

    airflow = Airflow(folder / "airflow", {}, port)
    try:
        airflow.start()
    except BaseException:
        airflow.stop()
        raise
    print(f"Airflow: {airflow.url} (user {USER}, password {PASSWORD}); logs in {airflow.home}; `kale down` ends it.")


def down(folder: Folder = _FOLDER) -> None:
    """Stop what `kale up` started."""
    from kale_tasks.airflow.standalone import stop_what_runs

    if not stop_what_runs(folder / "airflow"):
        raise BadConfig(f"No Airflow of ours runs in {folder / 'airflow'}.")
    print("Stopped.")
