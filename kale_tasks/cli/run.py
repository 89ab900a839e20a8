"""`kale run`, and its verbs for schedulers: `kale plan`, `kale work`, `kale seal`, `kale commit`."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kale_tasks.cli.options import (
    AsJson,
    Key,
    Opened,
    Preview,
    Recipe,
    Sets,
    StepName,
    opened,
    say,
    settings,
    with_preview,
    with_recipe,
)
from kale_tasks.contract.registry import ASSEMBLY, STEPS
from kale_tasks.errors import BadConfig

if TYPE_CHECKING:
    from kale_tasks.contract.registry import StepSpec
    from kale_tasks.contract.types import Chunk as PlannedChunk
    from kale_tasks.contract.types import Plan
    from kale_tasks.lake.tables import Committed
    from kale_tasks.runner.run import Run
    from kale_tasks.runner.seal import SealedRun
    from kale_tasks.settings import Settings

Again = Annotated[
    bool,
    typer.Option(
        "--again", "--redrive", help="Run although it is committed; images: retry failures that may be temporary."
    ),
]
Request = Annotated[
    str, typer.Option("--request", help="With --again: name of the request; repeating it does not run a second time.")
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, help="Take only this many rows, in a preview (default: `default`).")
]
Fingerprint = Annotated[str, typer.Option("--fingerprint", help="Fingerprint of the run, from `kale plan`.")]
Base = Annotated[str | None, typer.Option("--base", help="Origin of the run that this one replaces, from `kale plan`.")]
Chunks = Annotated[list[int], typer.Option("--chunk", help="Number of a chunk; several share a model.")]


_CAPTIONS = ("captions", ASSEMBLY, "all")  # these make everything up to the captions of stage 1
_HOLDOUT, _SAMPLED = "holdout", "sampled"  # caption the one for the gate of students, and of stage 2 a share
_FIRST = ("ingest", "images")  # what `all` runs before
StepOrCaptions = Annotated[
    str,
    typer.Argument(
        help=f"{', '.join(STEPS)}; a pass of the recipe; captions (as fuse): all its passes, then fuse; "
        "all: ingest, images and captions; holdout: the captions that students are judged by; sampled: those of the "
        "teacher of a share of stage 2.",
        metavar="STEP",
        autocompletion=lambda: [*STEPS, "captions", "all", _HOLDOUT, _SAMPLED],
    ),
]


def run(  # noqa: PLR0913, PLR0917
    step: StepOrCaptions,
    key: Key,
    recipe: Recipe = "",
    limit: Limit = None,
    preview: Preview = None,
    sets: Sets = None,
    again: Again = False,
    request: Request = "",
    json: AsJson = False,
) -> None:
    """Run a step on a key: plan, work, seal, check, commit. Does nothing if it is committed already.

    Exit code 3: a check failed. The key is then blocked and keeps the rows it had.

    With --limit or --preview the rows go to a preview: later steps, `kale show`, `kale status` and `kale report` find
    them there if they get the same --preview. The real lake is not changed, and nothing of a preview is released.
    """
    from kale_tasks.runner.verbs import execute

    accounts = []
    sets = with_recipe(with_preview(sets, preview, limit), recipe)
    specs = _specs(step, settings(sets))  # a mistyped name is reported before a missing lake
    with opened(sets) as (lake, of, progress):
        for spec in specs:
            it = _new_run(spec, Opened(lake, of, progress), key, again, request)
            committed = execute(it, partial(check_run, it))
            accounts.append(_account(it, committed))
            if not json:
                done_before = " Nothing was done: it was committed before." if it.committed else ""
                print(_sentence(it, committed) + done_before)
    if json:
        *passes, last = accounts
        say({**last, **({"passes": passes} if passes else {})}, json)


def _specs(step: str, of: "Settings") -> "list[StepSpec]":
    from kale_tasks.captions.steps import find_spec, holdout_specs, pass_specs, sampled_specs

    if step == _HOLDOUT:
        return holdout_specs(of.caption.recipe)
    if step == _SAMPLED:
        return sampled_specs(of.caption.recipe)
    name = ASSEMBLY if step in _CAPTIONS else step
    first = [find_spec(one, of) for one in _FIRST] if step == "all" else []
    return [*first, *(pass_specs(of.caption.recipe) if step in _CAPTIONS else ()), find_spec(name, of)]


def plan(
    step: StepName, key: Key, sets: Sets = None, again: Again = False, request: Request = "", json: AsJson = False
) -> None:
    """Plan a run: print what it would do, and store the plan for the other verbs. Exit code 3: it is blocked."""
    from kale_tasks.captions.steps import find_spec
    from kale_tasks.runner.verbs import plan as make

    with opened(sets) as it_opened:
        it = _new_run(find_spec(step, it_opened.settings), it_opened, key, again, request)
        made = make(it)
        rows = sum(chunk.stop - chunk.start for chunk in made.chunks)
        text = "is committed already" if made.committed else f"has {len(made.chunks)} chunks with {rows:,} rows to do"
        say(made.model_dump(), json, f"{step} {key} {made.fingerprint} {text}.")


def work(
    step: StepName, key: Key, chunks: Chunks, fingerprint: Fingerprint, sets: Sets = None, json: AsJson = False
) -> None:
    """Make the missing parts of some chunks of a plan, one after the other."""
    from kale_tasks.runner.ledger import figures_of
    from kale_tasks.runner.verbs import work as make

    with planned_run(step, key, sets, fingerprint, None) as (it, made):
        metas = [] if made.committed else make(it, *(_chunk(made, chunk) for chunk in chunks))
        done = {"parts": len(metas), "rows_in": sum(m.rows_in for m in metas), "kept": sum(m.kept for m in metas)}
        spent = {"seconds": round(it.meter.seconds, 3), "metrics": figures_of(it.meter.figures, metas)}
        numbers = ", ".join(map(str, chunks))
        text = f"{step} {key} chunk {numbers}: {done['parts']} parts made, {done['kept']} rows kept."
        say({**done, **spent}, json, text)


def seal(step: StepName, key: Key, fingerprint: Fingerprint, sets: Sets = None, json: AsJson = False) -> None:
    """Fix the files of a plan whose parts are all made, so that they can be checked and committed."""
    from kale_tasks.runner.seal import seal as make

    with planned_run(step, key, sets, fingerprint, None) as (it, made):
        sealed = {} if made.committed else {"seal_id": (found := make(it, made)).seal_id, "rows": found.rows}
        text = f"is sealed with {sealed['rows']} rows" if sealed else "is committed already"
        say({"committed": made.committed, **sealed}, json, f"{step} {key} {fingerprint} {text}.")


def commit(
    step: StepName, key: Key, fingerprint: Fingerprint, base: Base = None, sets: Sets = None, json: AsJson = False
) -> None:
    """Commit the parts of a plan as the rows of the key, all at once. Exit code 3: they did not pass their checks."""
    from kale_tasks.runner.verbs import commit as make

    with planned_run(step, key, sets, fingerprint, base) as (it, made):
        committed = make(it, made)
        say(_account(it, committed), json, _sentence(it, committed))


def check_run(run: "Run", sealed: "SealedRun") -> None:
    """Check a sealed run and report on its key; BadData if that failed."""
    from kale_tasks.quality.report import check_and_report

    check_and_report(run.lake, run.settings, sealed)


def _new_run(spec: "StepSpec", into: Opened, key: str, again: bool, request: str) -> "Run":
    from kale_tasks.runner.run import Run

    name = request or f"again-{uuid.uuid4().hex[:12]}"
    return Run(spec.load(), into.lake, into.settings, key, again=name if again else "", progress=into.progress)


@contextmanager
def planned_run(step: str, key: str, sets: Any, fingerprint: str, base: str | None) -> Iterator["tuple[Run, Plan]"]:
    """Context manager: open the run and the plan that `kale plan` made."""
    from kale_tasks.captions.steps import find_spec
    from kale_tasks.runner.verbs import reopen

    with opened(sets) as (lake, settings, progress):
        step_ = find_spec(step, settings).load()
        yield reopen(step_, lake, settings, (key, fingerprint, base or None), progress)


def _chunk(made: "Plan", index: int) -> "PlannedChunk":
    if index not in range(len(made.chunks)):
        raise BadConfig(f"The plan has chunks 0 to {len(made.chunks) - 1}; there is no chunk {index}.")
    return made.chunks[index]


def _account(run: "Run", committed: "Committed") -> dict[str, Any]:
    preview = {"preview": run.lake.preview} if run.lake.preview else {}
    recipe = {"recipe": run.step.slice["recipe"]} if "recipe" in run.step.slice else {}
    return {
        "step": run.step.name,
        **recipe,
        "key": run.key,
        "table": run.step.table,
        **asdict(committed),
        **_verdict(run, committed.seal_id),
        **preview,
    }


def _verdict(run: "Run", seal_id: str) -> dict[str, str]:
    from kale_tasks.lake.verdicts import read_acceptance, read_verdict

    found = read_verdict(run.lake.storage, seal_id)
    if not found:
        return {}
    return {"verdict": "accepted" if read_acceptance(run.lake.storage, seal_id) else found["status"]}


def _sentence(run: "Run", committed: "Committed") -> str:
    by_rule = ", ".join(f"{rule} {n}" for rule, n in sorted(committed.dropped.items(), key=lambda x: -x[1]))
    dropped = f", dropped {sum(committed.dropped.values())} ({by_rule})" if by_rule else ""
    name = run.lake.preview
    show = f"kale show {run.step.table} --key {run.key} --preview {name}"
    where = f" The rows are in the preview '{name}' only: {show}" if name else ""
    summary = run.step.summary(run)
    return (
        f"{run.step.name} {run.key} {committed.fingerprint}: {committed.rows_in} in, {committed.rows} kept"
        f"{dropped}, {committed.quarantined} quarantined{summary and f'; {summary}'}.{where}"
    )
