"""`kale quickstart`, `kale try` and `kale look`: own pictures to captions, one picture, and what a lake has."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kale_tasks.cli.options import (
    AsJson,
    Key,
    Preview,
    Recipe,
    Sets,
    open_lake,
    open_page,
    printable,
    say,
    settings,
    with_preview,
    with_recipe,
)
from kale_tasks.settings.load import load

if TYPE_CHECKING:
    from kale_tasks.explore.quickstart import Outcome
    from kale_tasks.explore.workbench import Ran

Source = Annotated[
    Path, typer.Argument(metavar="SOURCE", help="Folder of pictures, a picture, or a Parquet, CSV or JSONL file.")
]
Server = Annotated[str, typer.Option("--server", help="Address of a server that speaks OpenAI's API.")]
Model = Annotated[str, typer.Option("--model", help="Model of the server; not needed if it serves one.")]
Like = Annotated[str, typer.Option("--recipe", help="Recipe whose prompts are used.")]
Contact = Annotated[str, typer.Option("--contact", help="Web page or e-mail address, for pictures that are fetched.")]
Open = Annotated[bool, typer.Option("--open", help="Open the page in the browser.")]


def quickstart(  # noqa: PLR0913, PLR0917
    source: Source,
    server: Server = "",
    model: Model = "",
    folder: Annotated[Path, typer.Option(help="Folder of the lake and of the results.")] = Path("kale-quickstart"),
    recipe: Like = "kale",
    contact: Contact = "",
    open_: Open = False,
    sets: Sets = None,
    json: AsJson = False,
) -> None:
    """Caption own pictures: needs a server that speaks OpenAI's API, and no Airflow, Hub or GPU.

    Without --server it finds duplicates, and tags, text, faces and unsafe pictures as far as the extra `experts` is
    installed. Repeat it with --server, or with a changed recipe: what is there already is not made again.
    """
    from kale_tasks.explore.quickstart import Asked
    from kale_tasks.explore.quickstart import quickstart as start
    from kale_tasks.progress import progress_of

    overrides = [*([f"images.fetch.contact={contact}"] if contact else []), *(sets or ())]
    log = load(overrides).settings.log
    with progress_of(log) if sys.stderr.isatty() or log != "auto" else nullcontext() as progress:
        made = start(
            source,
            folder.resolve(),
            Asked(server, model, recipe),
            overrides=overrides,
            progress=progress,
            ran=(lambda _: None) if json else _say_step,
        )
    say(vars(made), True) if json else _say_outcome(made)
    if open_:
        open_page(made.page)


def _say_step(ran: "Ran") -> None:
    of = ran.committed
    dropped = "".join(f", {rule} {rows}" for rule, rows in sorted(of.dropped.items()) if rows)
    lost = f", quarantined {of.quarantined}" if of.quarantined else ""
    print(f"{ran.spec.label:<8} {of.rows} of {of.rows_in}{dropped}{lost} ({ran.seconds:.1f} s)", flush=True)


def _say_outcome(made: "Outcome") -> None:
    from kale_tasks.explore.served import HOW

    if made.missing:
        print(f"Not installed: {', '.join(made.missing)}. Add them: pip install 'kale-tasks[experts]'")
    if made.fit_least:
        print("Alt-texts that fit their picture least (1: well, 0: not at all):")
        for one in made.fit_least:
            print(f"  {one['score']:.2f}  {printable(one['alt_text'][:100])}")
    if not made.server:
        print(f"There are no captions, as no captioner is at hand. {HOW}")
    for what, place in (("Captions", made.captions), ("Page", made.page), ("Report", made.report)):
        if place:
            print(f"{what}: {place}")
    print(f"Recipe: {made.recipe} (change its prompts and repeat the command)")
    further = " ".join(f"{name}='{value}'" for name, value in made.environment.items())
    print(f"Further commands on this lake: {further} kale status")


Image = Annotated[Path, typer.Argument(help="A picture.")]
AltText = Annotated[str, typer.Argument(help="Its alt-text; empty: the words of its file name.")]


def try_(
    image: Image,
    alt_text: AltText = "",
    recipe: Recipe = "",
    server: Server = "",
    model: Model = "",
    sets: Sets = None,
    json: AsJson = False,
) -> None:
    """Take one picture through every pass of a recipe, and show what each makes of it and how long it takes.

    Nothing is kept. With --server, the recipe's prompts are put to the model of that server.
    """
    from kale_tasks.explore.attempt import attempt
    from kale_tasks.explore.served import asking

    of = asking(settings(with_recipe(sets, recipe)), server, model)
    with attempt(of, image, alt_text) as one:
        made = []
        for step in one.steps():
            made.append(step)
            if not json:
                _say_made(step.step, step.texts or [step.problem], step.seconds)
        seen = one.result()
        if json:
            say({"steps": [step.as_json() for step in made], **seen.as_json()}, True)
            return
        from rich.console import Console

        from kale_tasks.explore.terminal import print_seen

        print_seen(Console(), [seen])


def _say_made(step: str, texts: list[str], seconds: float) -> None:
    first, *more = [printable(text) for text in texts] or [""]
    print(f"{step:<8} {seconds:6.2f} s  {first}", flush=True)
    for text in more:
        print(f"{'':<18}{text}")


def look(  # noqa: PLR0913, PLR0917
    key: Key,
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, help="Pictures to show.")] = 10,
    uid: Annotated[str, typer.Option(help="Only the picture with this uid, or the beginning of one.")] = "",
    worst: Annotated[bool, typer.Option("--worst", help="Captions with the most invented facts first.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write one HTML page instead.")] = None,
    open_: Open = False,
    recipe: Recipe = "",
    preview: Preview = None,
    sets: Sets = None,
    json: AsJson = False,
) -> None:
    """Show captions beside their pictures, in the terminal or as an HTML page; facts are coloured by their source."""
    from kale_tasks.explore.look import look as gather
    from kale_tasks.explore.look import write_page

    of = settings(with_recipe(with_preview(sets, preview), recipe))
    seen = gather(open_lake(of), of, key, rows, uid=uid, worst=worst)
    if html or open_:
        page = html or Path(f"{key}.html")
        write_page(page, key, seen)
        say({"page": str(page), "pictures": len(seen)}, json, f"Page: {page}")
        if open_:
            open_page(str(page.resolve()))
    elif json:
        say([one.as_json() for one in seen], True)
    else:
        from rich.console import Console

        from kale_tasks.explore.terminal import print_seen

        print_seen(Console(), seen)
