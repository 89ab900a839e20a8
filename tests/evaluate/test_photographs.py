"""Texts beside real photographs fit them, to the packaged models, and those of other photographs do not."""

import pytest

from kale_tasks.evaluate.agreement import auc
from kale_tasks.evaluate.captions import judged, opened
from kale_tasks.evaluate.intervals import paired
from kale_tasks.evaluate.judges import MeasureJudge
from kale_tasks.evaluate.lake_texts import Beside
from kale_tasks.evaluate.measures import Item
from tests.experts.photographs import decoded, texts

pytestmark = pytest.mark.server
COUNT = 24


@pytest.fixture(scope="module")
def beside() -> Beside:
    """Photographs with their own texts, half of these, and those of other photographs."""
    images, known = decoded(256), texts()
    names = sorted(known)[:: max(1, len(known) // COUNT)][:COUNT]
    own = [known[name] for name in names]
    half = [" ".join(text.split()[: max(1, len(text.split()) // 2)]) for text in own]
    return Beside(
        [Item(name, images[name]) for name in names],
        {"dense": own, "truncated": half, "shuffled": [*own[COUNT // 2 :], *own[: COUNT // 2]]},
    )


@pytest.mark.nightly
def test_texts_of_other_photographs_fit_worse(beside: Beside) -> None:
    with opened(["fit", "self-retrieval"]) as (fit, retrieval):
        scores = {name: fit.scores(beside.items, some, []) for name, some in beside.texts.items()}
        assert paired(scores["dense"], scores["shuffled"]).interval(0.99)[0] > 0
        assert auc(scores["dense"], scores["shuffled"]).interval()[0] > 0.7  # type: ignore[arg-type]
        found = judged(beside, [fit, retrieval], MeasureJudge(fit))
    rows = {(row["measure"], row["arm"]): row for row in found["rows"]}
    assert 0 < rows["self-retrieval", "dense"]["mean"] < 1  # near chance: look-alikes are too much for packaged models
    assert found["arena"][-1]["arm"] == "shuffled"
    assert found["separates"]["fit"]["low"] > 0.6
    assert found["wins"]["dense over shuffled"] > 0.7


def test_a_warning_goes_with_overlap_and_nothing_with_fit(beside: Beside) -> None:
    with opened(["BLEU", "CIDEr"]) as measures:
        found = judged(beside, measures)
    assert set(found["warnings"]) == {"BLEU", "CIDEr"}
    assert all("no conclusion" in warning for warning in found["warnings"].values())
    assert found["baseline"] == "dense"
