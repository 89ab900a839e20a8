"""`kale demo`."""

from typing import Annotated

import typer

from kale_tasks.cli.airflow import DEFAULT_FOLDER, Folder

Port = Annotated[int, typer.Option(help="Port of Airflow's pages; the sample web uses the next one.")]


def demo(
    folder: Folder = DEFAULT_FOLDER,
    port: Port = 8080,
    keys: Annotated[int, typer.Option(min=1, max=28, help="Keys (days) of the sample world.")] = 3,
    pairs: Annotated[int, typer.Option(min=20, help="Image-text pairs per key.")] = 500,
    stay: Annotated[bool | None, typer.Option(help="Keep the pages open at the end (default: on a terminal).")] = None,
) -> None:
    """Run all Dags on a small sample world in a real Airflow, and show the results."""
    from kale_tasks.world.demo.run import run_demo

    run_demo(folder.resolve(), port, keys, pairs, stay)
