"""`kale explain`, `kale estimate` and `kale watch`: what codes mean, what a run will cost, and what runs now."""

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from kale_tasks.cli.options import AsJson, Recipe, Sets, open_lake, say, say_table, settings, table_of, with_recipe
from kale_tasks.errors import BadConfig
from kale_tasks.lake.keys import check_key

if TYPE_CHECKING:
    from kale_tasks.lake.tables import Lake
    from kale_tasks.settings import Settings

CodeName = Annotated[
    str, typer.Argument(metavar="[CODE]", help="A reason, rule, flag, check or exit code; none: list all.")
]


def explain(code: CodeName = "", json: AsJson = False) -> None:
    """Say what a reason, a rule, a flag, a check or an exit code means, and what to do about it."""
    from kale_tasks.explore.codes import check_codes, quick_codes
    from kale_tasks.explore.codes import explain as explained

    if code:
        found = explained(code)
        text = "\n".join(f"{one.code} ({one.kind}): {one.means} {one.do}".rstrip() for one in found)
        say([one._asdict() for one in found], json, text)
        return
    say_table([one._asdict() for one in (*quick_codes(), *check_codes())], json)


Rates = Annotated[
    list[str] | None,
    typer.Option("--rate", metavar="NAME=VALUE", help="A rate of your own: dense=45 answers a second and GPU."),
]


def estimate(  # noqa: PLR0913, PLR0917
    key: Annotated[str, typer.Option("--key", help="A key whose landing files are counted.")] = "",
    rows: Annotated[int | None, typer.Option(min=0, help="Landing rows, in place of those of a key.")] = None,
    gpus: Annotated[int, typer.Option(min=1, help="GPUs that work side by side.")] = 1,
    cores: Annotated[int, typer.Option(min=1, help="Cores that work side by side.")] = os.cpu_count() or 1,
    price: Annotated[float | None, typer.Option(min=0, help="Dollars for an hour of a GPU.")] = None,
    rates: Rates = None,
    recipe: Recipe = "",
    sets: Sets = None,
    json: AsJson = False,
) -> None:
    """Estimate rows, GPU-hours, dollars, days and storage of a key and a recipe. Says where each rate comes from.

    Rates come from --rate, else from what this lake has measured, else from figures that ship with KALE.
    """
    from kale_tasks.explore.estimate import estimate as make
    from kale_tasks.explore.estimate import landing_rows

    if rows is None and not key:
        raise BadConfig("Give --key with landing files, or --rows, such as --rows 1000000.")
    priced = [*(sets or ()), *([f"caption.device_hour_price={price}"] if price is not None else [])]
    of = settings(with_recipe(priced, recipe))
    landed = float(rows) if rows is not None else landing_rows(of, check_key(key))
    made = make(of, _lake(of), landed, dict(map(_rate, rates or ())), (gpus, cores)).as_json()
    if json:
        say(made, True)
        return
    say_table(made["lines"], False)
    total = made["total"]
    print(
        f"{total['GPU-hours']:,} GPU-hours, {total['CPU-hours']:,} CPU-hours, ${total['dollars']:,}, "
        f"{total['GB']:,} GB; {total['days']:,} days on {gpus} GPUs and {cores} cores."
    )
    for assumption in made["assumed"]:
        print(f"  {assumption}")


def _rate(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        if (rate := float(value)) > 0:
            return name, rate
    except ValueError:
        pass
    raise BadConfig(f"--rate takes name=value with a number above 0, such as --rate dense=45; got '{text}'.")


def _lake(of: "Settings") -> "Lake | None":
    with suppress(BadConfig):  # no lake yet: nothing is measured
        return open_lake(of)
    return None


def watch(
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 2.0,
    sets: Sets = None,
    json: AsJson = False,
) -> None:
    """Show what runs in the lake: rows and parts done, workers, rows a second, time left. Ends with ctrl-C.

    It reads what every process leaves in the lake, so it sees runs of other machines too.
    """
    from kale_tasks.explore.watch import follow, running

    lake = open_lake(settings(sets))
    if once or json:
        found = [one.as_row() for one in running(lake)]
        if json or not found:
            say(found, json, "Nothing runs.")
        else:
            say_table(found, False)
        return
    from rich.live import Live

    with suppress(KeyboardInterrupt), Live(refresh_per_second=4) as live:
        for found_now in follow(lake, every):
            live.update(table_of([one.as_row() for one in found_now]) if found_now else "Nothing runs.")
