"""`kale sample`: writes the sample world, serves its images, trains and measures its models."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="A sample world whose truth is known, its web and its models.")


class Format(StrEnum):
    """Formats of metadata files."""

    DATACOMP = "datacomp"
    LAION = "laion"
    JSONL = "jsonl"
    CSV = "csv"


class Images(StrEnum):
    """Where the images are: in tars beside the metadata, or on the sample web only."""

    TAR = "tar"
    WEB = "web"


@app.command()
def make(
    pairs: Annotated[int, typer.Option(min=1, help="Pairs in total, spread evenly over the keys.")],
    out: Annotated[Path, typer.Option(help="Folder to write to; use it as KALE_LANDING.")],
    keys: Annotated[int, typer.Option(min=1, help="Keys (days from 2026-11-01 on).")] = 3,
    seed: Annotated[int, typer.Option(help="Each seed gives another world.")] = 0,
    format: Annotated[Format, typer.Option(help="Column names and file format of the metadata.")] = Format.DATACOMP,
    images: Annotated[Images, typer.Option(help="Images in tars, or on the sample web.")] = Images.TAR,
    web_url: Annotated[
        str, typer.Option(help="URL of the sample web; {host} is replaced by 1 to 8, as in http://127.0.0.{host}:8100.")
    ] = "http://photos-{host}.example",
) -> None:
    """Write landing files, their truth and an evaluation set."""
    from kale_tasks.world.write import WorldSample, write_sample

    sample = WorldSample(pairs, keys, seed, format.value, images.value, web_url)
    with typer.progressbar(length=pairs, label="pairs") as bar:
        before = 0
        for written in write_sample(sample, out):
            bar.update(written - before)
            before = written
    typer.echo(f"{pairs} pairs over {keys} keys in {out}; their truth is in {out / '_truth'}")


@app.command()
def pictures(
    out: Annotated[Path, typer.Argument(help="Folder to write to.")],
    number: Annotated[int, typer.Option(min=1, help="Pictures.")] = 20,
) -> None:
    """Write pictures with alt-texts beside them that `kale sample serve` understands, for `kale quickstart`."""
    from kale_tasks.world.write import write_pictures

    write_pictures(out, number)
    typer.echo(f"{number} pictures with their texts in {out}")


@app.command()
def web(
    port: Annotated[int, typer.Option(help="Port to listen on; 0: a free one.")] = 8100,
    hosts: Annotated[int, typer.Option(min=1, max=8, help="Listen on 127.0.0.1 to 127.0.0.HOSTS.")] = 1,
) -> None:
    """Serve the images of all sample worlds, with the faults of the real web."""
    from kale_tasks.world.web import serve

    serve(port, hosts)


@app.command("serve")
def serve_models(port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000) -> None:
    """Serve the tiny models behind OpenAI's API, to try `kale quickstart --server` without a model of your own."""
    from kale_tasks.world.serve import serve

    serve(port)


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder for the models; existing ones are replaced.")],
    scenes: Annotated[int, typer.Option(min=1, help="Scenes to measure on, which no training uses.")] = 500,
) -> None:
    """Train fuser, teacher and base from random weights and measure them. Takes 33 CPU minutes with one thread."""
    from kale_tasks.progress import make
    from kale_tasks.world.models.train import train as train_all

    train_all(out, scenes, typer.echo, make("auto"))


@app.command()
def measure(
    models: Annotated[Path | None, typer.Option(help="Folder of the models (default: the shipped ones).")] = None,
    scenes: Annotated[int, typer.Option(min=1, help="Scenes to measure on, which no training uses.")] = 500,
) -> None:
    """Measure all three on unseen scenes, and the fuser on sixty names of the real world."""
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
