"""`kale evaluate` and `kale power`: what captions are worth, and how sure that is."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kale_tasks.cli.options import AsJson, Sets, open_lake, say, say_table, settings
from kale_tasks.errors import BadConfig

if TYPE_CHECKING:
    from kale_tasks.evaluate.lake_texts import Beside
    from kale_tasks.evaluate.measures import Measure
    from kale_tasks.evaluate.runs import Evaluation
    from kale_tasks.settings import Settings

app = typer.Typer(
    help="Compare texts with the truth of a sample world, or arms by what a small model learns from them."
)
Keys = Annotated[list[str] | None, typer.Option("--key", help="Only this key. May be repeated.")]
_OF_TRUTH = ("unit facts", "true facts", "carried facts", "answerability")
_MEASURES = (
    "fit, self-retrieval, agreement, BLEU, CIDEr; an external judge: NAME, or FILE:NAME; on a sample world: "
    "`unit facts`, `true facts`, `carried facts`, `answerability`, `answerability:RECIPE:PASS` (the model of that pass "
    "reads)."
)
_ARENA = "Compare in pairs, too: by one of the measures, or by RECIPE:PASS, the model of that pass."
DesignName = Annotated[str, typer.Argument(help="A design in config/evaluations, or the path of a YAML file.")]


sheet = typer.Typer(no_args_is_help=True, help="Sentences of captions for people to judge, as CSV.")
app.add_typer(sheet, name="sheet")


@app.callback(invoke_without_command=True)
def evaluate(context: typer.Context, keys: Keys = None, sets: Sets = None, json: AsJson = False) -> None:
    """Compare alt-texts, dense captions and captions with the truth, which only keys of a sample world have.

    Without --key, all keys with a truth are compared.
    """
    if context.invoked_subcommand:
        return
    from kale_tasks.lake.storage.open import open_storage
    from kale_tasks.world.truth import keys_with_truth, scores

    of = settings(sets)
    lake = open_lake(of)
    landing = open_storage(of.landing, of.s3)
    found = scores(lake, landing, keys or keys_with_truth(landing, lake.keys("captions")))
    say_table([score.figures() for score in found], json, "Texts against the truth")


@app.command()
def downstream(
    design: DesignName = "sample",
    run: Annotated[list[str] | None, typer.Option("--run", help="Only this run, as ARM-SEED. May be repeated.")] = None,
    pending: Annotated[bool, typer.Option("--list", help="List the runs that are not made, and make none.")] = False,
    cost: Annotated[bool, typer.Option("--cost", help="State what it costs, and make no run.")] = False,
    sets: Sets = None,
    json: AsJson = False,
) -> None:
    """Train a small model on each arm of a design with each seed, ask it questions, and report what that shows.

    The design is fixed with the first result: a change afterwards is refused. Runs that are made are not made again;
    a run that was stopped goes on from its last checkpoint.
    """
    from kale_tasks.evaluate.report import write_report
    from kale_tasks.evaluate.runs import Evaluation
    from kale_tasks.progress import progress_of

    of = settings(sets)
    evaluation = Evaluation.open(design, of)
    if pending:
        say([{"design": design, "run": name} for name in evaluation.pending()], json, "\n".join(evaluation.pending()))
        return
    price = evaluation.design.price()
    if cost:
        say(price, json, _priced(evaluation, price))
        return
    if not json:
        print(_priced(evaluation, price))
    for name in run or evaluation.pending():
        with progress_of(of.log) as progress:
            evaluation.run(name, progress)
    if run:
        say({"runs": run}, json, f"Made: {', '.join(run)}. `kale evaluate report {design}` says what they show.")
        return
    _say_report(write_report(evaluation), json)


@app.command()
def report(design: DesignName = "sample", sets: Sets = None, json: AsJson = False) -> None:
    """Report what the answers so far show, what they do not, and what they could have shown."""
    from kale_tasks.evaluate.report import write_report
    from kale_tasks.evaluate.runs import Evaluation

    _say_report(write_report(Evaluation.open(design, settings(sets))), json)


@app.command()
def texts(
    design: DesignName = "ablations",
    rows: Annotated[int, typer.Option("--rows", min=2, help="Images to judge.")] = 200,
    sets: Sets = None,
    json: AsJson = False,
) -> None:
    """Judge the texts of every arm of a design against the truth, without training anything.

    It needs data whose truth is known, such as the sample world. An image without a text scores 0.
    """
    from kale_tasks.evaluate.captions import judged, texts_of_arms
    from kale_tasks.evaluate.measures import Agreement
    from kale_tasks.evaluate.runs import Evaluation
    from kale_tasks.world.measures import MEASURES, answerability

    of = Evaluation.open(design, settings(sets))
    measures = [*(one() for one in MEASURES.values()), answerability(), Agreement()]
    beside = texts_of_arms(of.design, of.data, rows)
    found = judged(beside, measures, baseline=of.design.primary.baseline)
    if json:
        say(found, json)
        return
    shown = ("measure", "arm", "words", "mean", "low", "high", "gain", "gain low", "gain high")
    narrow = [{name: row[name] for name in shown} for row in found["rows"]]
    say_table(narrow, json, f"{found['images']} images, compared with {found['baseline']}")


@app.command()
def captions(
    keys: Keys = None,
    recipes: Annotated[list[str] | None, typer.Option("--recipe", help="Only this recipe. May be repeated.")] = None,
    measures: Annotated[
        list[str] | None,
        typer.Option("--measure", help=_MEASURES),
    ] = None,
    arena: Annotated[str, typer.Option("--arena", help=_ARENA)] = "",
    rows: Annotated[int, typer.Option("--rows", min=2, help="Images to judge.")] = 100,
    sets: Sets = None,
    json: AsJson = False,
) -> None:
    """Judge alt-texts, dense captions and the captions of each recipe on the same images, without any training.

    Each measure is shown with its interval, and once more on texts of equal length. None of them is a gate. Images are
    seen by the encoder of `quality.encoder`; without one, by two packaged models (see docs/experts.md).
    """
    from kale_tasks.evaluate.captions import asked_model, judged, opened
    from kale_tasks.evaluate.judges import MeasureJudge, ModelJudge, PairJudge
    from kale_tasks.evaluate.lake_texts import side_by_side

    names = measures or ["fit", "agreement"]
    of = settings(sets)
    lake = open_lake(of)
    asked = keys or lake.keys("captions")
    of_truth = [name for name in names if name.partition(":")[0] in _OF_TRUTH]
    sees = not {*names, *([arena] if arena else [])} <= {"agreement", "BLEU", "CIDEr", *of_truth}
    beside = side_by_side(lake, asked, rows, sees, recipes or ())  # before any model is loaded
    with ExitStack() as stack:
        known = {name: _truth_measure(name, of, stack) for name in of_truth}
        others = [name for name in names if name not in known]
        ready = [*stack.enter_context(opened(others, of.quality.encoder)), *known.values()]
        by_name = {one.name: one for one in ready}
        chosen: PairJudge | None = MeasureJudge(by_name[arena]) if arena in by_name else None
        if arena and not chosen:
            chosen = ModelJudge(stack.enter_context(asked_model(arena, of.caption)))
        found = judged(_with_truth(beside, asked, of) if known else beside, ready, chosen)
    if json:
        say(found, json)
        return
    say_table(found["rows"], json, f"{found['images']} images, compared with {found['baseline']}")
    separated = [{"measure": name, **area} for name, area in found["separates"].items()]
    say_table(separated, json, "How often a text scores higher than that of another image")
    for name, warning in found["warnings"].items():
        print(f"{name} {warning}.")
    if arena:
        say_table(found["arena"], json, f"The arena, judged by {arena}; its tastes: {found['taste']}")


def _truth_measure(name: str, of: "Settings", stack: ExitStack) -> "Measure":
    from kale_tasks.evaluate.answerable import ModelReader
    from kale_tasks.evaluate.captions import asked_model
    from kale_tasks.world.measures import MEASURES, answerability

    if name in MEASURES:
        return MEASURES[name]()
    model = name.partition(":")[2]
    return answerability(ModelReader(stack.enter_context(asked_model(model, of.caption))) if model else None)


def _with_truth(beside: "Beside", keys: Sequence[str], of: "Settings") -> "Beside":
    from kale_tasks.lake.storage.open import open_storage
    from kale_tasks.world.truth import truth_rows

    landing = open_storage(of.landing, of.s3)
    truth = {uid: row for key in keys for uid, row in truth_rows(landing, key).items()}
    return beside._replace(items=[replace(item, about=truth[item.uid]) for item in beside.items])


@sheet.command()
def export(
    out: Annotated[Path, typer.Argument(help="The CSV file to write.")],
    keys: Keys = None,
    recipes: Annotated[list[str] | None, typer.Option("--recipe", help="Only this recipe. May be repeated.")] = None,
    rows: Annotated[int, typer.Option("--rows", min=1, help="Captions in the sheet.")] = 300,
    sets: Sets = None,
) -> None:
    """Write a sheet of sentences for people to judge: right, wrong or unsure. Each reader fills in a copy."""
    from kale_tasks.evaluate.lake_texts import caption_rows
    from kale_tasks.evaluate.sheet import draw, write

    lake = open_lake(settings(sets))
    drawn = draw(caption_rows(lake, keys or lake.keys("captions"), recipes or ()), rows)
    out.write_text(write(drawn), "utf-8")
    print(f"{len(drawn)} captions in {out}. Fill in `verdict` and `reader`, then `kale evaluate sheet import {out}`.")


@sheet.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(help="Sheets that readers have filled in.", exists=True)],
    json: AsJson = False,
) -> None:
    """State what the verdicts of people say of each recipe, and how far the readers agree."""
    from kale_tasks.evaluate.sheet import read, summarize

    found = summarize([row for file in files for row in read(file.read_text("utf-8"), file.name)])
    if json:
        say(found, json)
        return
    say_table(found["recipes"], json, f"{found['sentences']} sentences, {found['readers']} readers")
    low, high = found["kappa interval"] or (None, None)
    agreed = f"Kappa of {found['judged twice']} sentences: {found['kappa']} ({low} to {high})."
    print(agreed if found["judged twice"] else "No kappa: no sentence was judged by two readers.")


def _priced(of: "Evaluation", price: dict[str, float]) -> str:
    dollars = f", {price['dollars']:,.0f} dollars" if of.design.cost.price else ""
    return (
        f"{of.name}: {price['runs']:g} runs, {len(of.pending())} to make; {price['hours']:,.1f} device-hours{dollars}."
    )


def _say_report(found: dict[str, Any], json: bool) -> None:
    if json:
        say(found, json)
        return
    say_table(found["arms"], json, f"{found['runs']} of {found['planned']} runs")
    for name, rows in found["outcomes"].items():
        if rows:
            print(f"\n{found['sentences'][name]}")
            say_table(rows, json, name)
    print(f"\nReport: {found['report']}")


def power(
    difference: Annotated[list[float] | None, typer.Option("--difference", help="Points. May be repeated.")] = None,
    discordant: Annotated[
        list[float] | None, typer.Option("--discordant", help="Percent of questions on which two models differ.")
    ] = None,
    deviation: Annotated[
        list[float] | None, typer.Option("--deviation", help="Standard deviation over seeds, in points.")
    ] = None,
    questions: Annotated[
        int | None, typer.Option("--questions", min=2, help="State the smallest difference that this number shows.")
    ] = None,
    json: AsJson = False,
) -> None:
    """State how many questions and seeds show a difference four times of five, two-sided at 5 %.

    Seeds in brackets: if both arms share their seeds and these explain half of the variance.
    """
    from kale_tasks.evaluate.power import questions_needed, seeds_needed, smallest_difference

    sizes = difference or [0.23, 0.5, 1, 2, 5]
    shares, spreads = discordant or [10, 15, 20, 30], deviation or [0.1, 0.2, 0.3, 0.5, 1.0]
    if min([*sizes, *shares, *spreads]) <= 0 or max([*sizes, *shares]) > 100 or max(sizes) > max(shares):
        raise BadConfig("Differences and shares are points above 0, and no difference exceeds the discordant share.")
    if questions:
        reach = [{"discordant %": s, "points": round(100 * smallest_difference(questions, s / 100), 2)} for s in shares]
        say_table(reach, json, f"Smallest difference that {questions:,} questions show")
        return
    by_question = [
        {"difference": d, **{f"{s:g} %": questions_needed(d / 100, s / 100) if d <= s else None for s in shares}}
        for d in sizes
    ]
    by_seed = [
        {"deviation": s, **{f"+{d:g}": f"{seeds_needed(d, s)} ({seeds_needed(d, s, 0.5)})" for d in sizes}}
        for s in spreads
    ]
    if json:
        say({"questions": by_question, "seeds": by_seed}, json)
        return
    say_table(by_question, json, "Questions of a paired test, by share of questions answered differently")
    say_table(by_seed, json, "Seeds of each arm, by deviation over seeds")
