"""`kale evaluate captions`: opens the measures by name, and puts their tables together."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import combinations
from typing import Any

from kale_tasks.engines.base import Engine, Model, open_engine
from kale_tasks.evaluate.agreement import auc
from kale_tasks.evaluate.data import EvaluationData
from kale_tasks.evaluate.design import Design
from kale_tasks.evaluate.external import External, external
from kale_tasks.evaluate.judges import PairJudge, arena_rows, compare, win_rate
from kale_tasks.evaluate.lake_texts import Beside
from kale_tasks.evaluate.measures import Agreement, Fit, Item, Measure, SelfRetrieval, Texts, judge
from kale_tasks.evaluate.overlap import Bleu, Cider
from kale_tasks.experts.base import open_embedder, open_scorer
from kale_tasks.models.locate import locate
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.settings.caption import Caption


@contextmanager
def opened(names: Sequence[str], encoder: str = "") -> Iterator[list[Measure]]:
    """Context manager: measures by name with their models loaded; other names are those of external judges.

    Images and texts are compared by an encoder (repo@revision or a folder); without one, by the packaged models.
    """
    of: dict[str, Any] = {"model": encoder} if encoder else {}
    with ExitStack() as stack:
        scorer = open_scorer("encoder" if encoder else "labels", of)
        embedder = open_embedder("encoder" if encoder else "efficientnet", of)
        if {"fit", "self-retrieval"} & set(names):
            stack.enter_context(scorer.running())
        if "self-retrieval" in names:
            stack.enter_context(embedder.running())
        made: dict[str, Callable[[], Measure]] = {
            "fit": lambda: Fit(scorer),
            "self-retrieval": lambda: SelfRetrieval(scorer, embedder),
            "agreement": Agreement,
            "BLEU": Bleu,
            "CIDEr": Cider,
        }
        yield [made[name]() if name in made else external(name) for name in names]


@contextmanager
def asked_model(name: str, of: Caption) -> Iterator[Engine]:
    """Context manager: the started engine of the model that a pass asks, given as RECIPE:PASS."""
    recipe, _, one = name.rpartition(":")
    task = load_recipe(recipe).task(one)
    with open_engine(of, Model(task.model, task, lambda: locate(task.model))) as engine:
        engine.start()
        yield engine


def texts_of_arms(design: Design, data: EvaluationData, count: int) -> Beside:
    """The texts of the arms of a design about its first images, and their truth. An image may have no text."""
    by_arm = {
        arm: {one.image: one.answer.strip() for one in data.captions(options)} for arm, options in design.arms.items()
    }
    images = list(dict.fromkeys(image for texts in by_arm.values() for image in texts))[:count]
    texts = {arm: [found.get(image, "") for image in images] for arm, found in by_arm.items()}
    return Beside([Item(image, about=data.truth(image)) for image in images], texts)


def judged(
    beside: Beside, measures: Sequence[Measure], judge_of_pairs: PairJudge | None = None, baseline: str = ""
) -> dict[str, Any]:
    """Judge texts beside each other, and in pairs if there is a judge of pairs.

    Without a baseline it is the dense caption, or the first text. References of BLEU and CIDEr are the baseline.
    """
    baseline = baseline or ("dense" if "dense" in beside.texts else next(iter(beside.texts)))
    items = [replace(item, reference=text) for item, text in zip(beside.items, beside.texts[baseline], strict=True)]
    found: dict[str, Any] = {
        "images": len(items),
        "baseline": baseline,
        "rows": judge(measures, items, beside.texts, baseline),
        "separates": {one.name: _separates(one, items, beside.texts, baseline) for one in measures},
        "warnings": {one.name: one.warning for one in measures if one.warning},
        "versions": {one.name: one.version for one in measures if isinstance(one, External)},
    }
    if judge_of_pairs:
        comparisons = compare(judge_of_pairs, items, beside.texts)
        found["arena"], found["taste"] = arena_rows(comparisons)
        found["wins"] = {
            f"{one} over {other}": round(win_rate(comparisons, one, other).value, 3)
            for one, other in combinations(beside.texts, 2)
        }
    return found


def _separates(measure: Measure, items: Sequence[Item], texts: Texts, baseline: str) -> dict[str, float]:
    """How often a text about an image scores higher than the text of another image (AUC): what a measure can see."""
    own, others = list(texts[baseline]), [list(some) for arm, some in texts.items() if arm != baseline]
    shuffled = [*own[1:], own[0]]
    area = auc(measure.scores(items, own, others), measure.scores(items, shuffled, others))
    low, high = area.interval()
    return {"AUC": round(area.value, 3), "low": round(low, 3), "high": round(high, 3)}
