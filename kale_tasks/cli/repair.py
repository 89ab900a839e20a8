"""`kale verify` and `kale repair`, for damaged files, and `kale rollback`, for what was committed by mistake."""

from dataclasses import asdict
from typing import Annotated

import typer

from kale_tasks.cli.options import AsJson, Key, Sets, StepName, opened, real_lake, say, say_table, settings
from kale_tasks.cli.run import check_run
from kale_tasks.errors import BadConfig, BadData
from kale_tasks.lake.keys import check_key

OneKey = Annotated[
    str | None, typer.Option("--key", callback=lambda key: key and check_key(key), help="Only this key.")
]
OneStep = Annotated[str | None, typer.Option("--step", help="Only this step, or a pass of the recipe.")]
_SHOWN = 3  # damaged files in a message


def verify(
    key: OneKey = None,
    step: OneStep = None,
    sample: Annotated[float, typer.Option(help="Share of the files to read, taken at random.", min=0, max=1)] = 1,
    sets: Sets = None,
    json: AsJson = False,
) -> None:
    """Compare every committed file with the hash that was recorded when it was written. Exit code 3: some differ."""
    from kale_tasks.captions.steps import find_spec
    from kale_tasks.runner.verify import verify as compare

    of = settings(sets)
    name = find_spec(step, of).name if step else ""
    found = compare(real_lake(of, "Verification"), key=key or "", step=name, sample=sample)
    rows = [damage.as_row() for damage in found.damaged]
    if json:
        say({"files": found.files, "damaged": rows}, True)
    elif rows:
        say_table(rows, False, "Damaged files")
    else:
        print(f"{found.files} files are as they were written.")
    if rows:
        named = "; ".join(map(str, found.damaged[:_SHOWN]))
        which = f" --key {found.damaged[0].key}" if len({damage.key for damage in found.damaged}) == 1 else ""
        raise BadData(
            f"{len(rows)} files are damaged or missing: {named}. Run `kale repair{which}`, which makes them again, or "
            f"restore them from a backup."
        )


def repair(key: OneKey = None, step: OneStep = None, sets: Sets = None, json: AsJson = False) -> None:
    """Find damaged files, move them to `damaged/`, and make their keys again. Exit code 3: something is damaged still.

    Later steps become stale only if the rows of a key differ from before.
    """
    from kale_tasks.captions.steps import all_steps, find_spec
    from kale_tasks.runner.repair import repair as heal

    with opened(sets, real="A repair") as (lake, of, progress):
        name = find_spec(step, of).name if step else ""
        done = heal(lake, of, progress, check_run, key=key or "", step=name, specs=all_steps(of))
    answer = {"damaged": [d.as_row() for d in done.damaged], "made": dict(done.made), "left": dict(done.left)}
    text = f"{len(done.damaged)} files were damaged or missing. Made again: {', '.join(done.made) or 'nothing'}."
    say(answer, json, text)
    if done.left:
        raise BadData("Not repaired: " + "; ".join(f"{name}: {why}" for name, why in done.left.items()))


def rollback(
    step: StepName,
    key: Key,
    to: Annotated[str | None, typer.Option(help="The run to commit again; without it, the runs are listed.")] = None,
    because: Annotated[str | None, typer.Option(help="The reason, which is kept with the key.")] = None,
    release_hold: Annotated[bool, typer.Option("--release-hold", help="Let runs replace the key again.")] = False,
    sets: Sets = None,
    json: AsJson = False,
) -> None:
    """Commit an earlier run of a key again and hold the key there: no run replaces it until --release-hold."""
    from kale_tasks.captions.steps import find_spec
    from kale_tasks.lake import holds
    from kale_tasks.runner.rollback import candidates, roll_back

    if bool(to) != bool(because):
        raise BadConfig("A rollback needs both the run (--to RUN; without options the runs are listed) and --because.")
    with opened(sets, real="A rollback") as (lake, of, _):
        found = find_spec(step, of).load()
        if release_hold:
            holds.release_hold(lake.storage, found.partition(key))
            say(
                {"held": False}, json, f"{step} {key} is not held any more: the next run makes it again if it is stale."
            )
        elif to and because:
            done = roll_back(lake, of, found, key, to, because)
            text = f"{step} {key} is at run {to} again ({done.rows} rows) and held there. Later steps may be stale now."
            say({"run": to, "rows": done.rows, "held": True}, json, text)
        else:
            say_table([asdict(one) for one in candidates(lake, found, key)], json, f"Runs of {step} {key}")
