"""`kale sample`: write the sample world, serve its web, train and measure its models."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="A sample world whose truth is known, its web, and its tiny models.")


class Format(StrEnum):
    """Metadata formats that can be written."""

    DATACOMP = "datacomp"
    LAION = "laion"
    JSONL = "jsonl"
    CSV = "csv"


class Images(StrEnum):
    """Where the images are: in tars beside the metadata, or on the sample web."""

    TAR = "tar"
    WEB = "web"


@app.command()
def make(
    pairs: Annotated[int, typer.Option(min=1, help="Pairs in all, spread evenly over the keys.")],
    out: Annotated[Path, typer.Option(help="Folder to write to; use it as KALE_LANDING.")],
    keys: Annotated[int, typer.Option(min=1, help="Keys (days from 2026-11-01 on).")] = 3,
    seed: Annotated[int, typer.Option(help="Another seed is another world.")] = 0,
    format: Annotated[Format, typer.Option(help="Names and format of the metadata.")] = Format.DATACOMP,
    images: Annotated[Images, typer.Option(help="Images in tars, or on the sample web.")] = Images.TAR,
    web_url: Annotated[
        str, typer.Option(help="Address of the web; {host} stands for 1 to 8, as in http://127.0.0.{host}:8100.")
    ] = "http://photos-{host}.example",
) -> None:
    """Writes landing files, their truth and an evaluation set."""
    from kale_tasks.world.write import WorldSample, write_sample

    sample = WorldSample(pairs, keys, seed, format.value, images.value, web_url)
    with typer.progressbar(length=pairs, label="pairs") as bar:
        before = 0
        for written in write_sample(sample, out):
            bar.update(written - before)
            before = written
    typer.echo(f"{pairs} pairs over {keys} keys in {out}; the truth is in {out / '_truth'}")


@app.command()
def web(
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8100,
    hosts: Annotated[int, typer.Option(min=1, max=8, help="Answer as 127.0.0.1 up to 127.0.0.HOSTS.")] = 1,
) -> None:
    """Serves the sample web: the images of every world, with the faults of the real one."""
    from kale_tasks.world.web import serve

    serve(port, hosts)


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder for the checkpoints; what is there is replaced.")],
    scenes: Annotated[int, typer.Option(min=1, help="Unseen scenes to measure on.")] = 500,
) -> None:
    """Trains fuser, teacher and base from random weights and measures them; 33 CPU minutes by one thread, 41 by two."""
    from kale_tasks.progress import make
    from kale_tasks.world.models.train import train as train_all

    train_all(out, scenes, typer.echo, make("auto"))


@app.command()
def measure(
    models: Annotated[Path | None, typer.Option(help="Folder of the three; empty: those shipped.")] = None,
    scenes: Annotated[int, typer.Option(min=1, help="Unseen scenes to measure on.")] = 500,
) -> None:
    """Measures all three on unseen scenes, and the fuser on sixty names of the real world."""
    import json

    from kale_tasks.world.models import CHECKPOINTS
    from kale_tasks.world.models.measure import measure_base, measure_fuser, measure_real_names, measure_teacher

    folder = models or CHECKPOINTS
    figures = {
        "teacher": measure_teacher(folder / "teacher", scenes),
        "fuser": measure_fuser(folder / "fuser", scenes),
        "base": measure_base(folder / "base", scenes),
        "real names": measure_real_names(folder / "fuser"),
    }
    typer.echo(json.dumps(figures, indent=2))


if __name__ == "__main__":
    app()
