"""`kale evaluate captions`: opens the measures by name, and puts their tables together."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from kale_tasks.errors import BadConfig
from kale_tasks.evaluate.external import External, external
from kale_tasks.evaluate.judges import MeasureJudge, arena_rows, compare
from kale_tasks.evaluate.lake_texts import Beside
from kale_tasks.evaluate.measures import Agreement, Fit, Item, Measure, SelfRetrieval, judge
from kale_tasks.evaluate.overlap import Bleu, Cider
from kale_tasks.experts.base import open_embedder, open_scorer


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


def judged(beside: Beside, measures: Sequence[Measure], arena: str = "") -> dict[str, Any]:
    """Judge texts beside each other; with `arena`, in pairs too, by the measure of that name.

    The baseline is the dense caption, or the first text without one. References of BLEU and CIDEr are the baseline.
    """
    baseline = "dense" if "dense" in beside.texts else next(iter(beside.texts))
    items = [
        Item(item.uid, item.image, item.about or text)
        for item, text in zip(beside.items, beside.texts[baseline], strict=True)
    ]
    found: dict[str, Any] = {
        "images": len(items),
        "baseline": baseline,
        "rows": judge(measures, items, beside.texts, baseline),
        "warnings": {one.name: one.warning for one in measures if one.warning},
        "versions": {one.name: one.version for one in measures if isinstance(one, External)},
    }
    if arena:
        of = next((one for one in measures if one.name == arena), None)
        if of is None:
            raise BadConfig(f"The arena needs the measure '{arena}': name it with --measure too.")
        found["arena"], found["taste"] = arena_rows(compare(MeasureJudge(of), items, beside.texts))
    return found
