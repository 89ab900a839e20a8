"""An evaluation from its design to its report: the same answers however often it is stopped."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from kale_tasks.errors import BadConfig
from kale_tasks.evaluate.runs import Evaluation
from kale_tasks.evaluate.vlm import SmallModel
from kale_tasks.progress import Silent
from tests.evaluate.small import SMALL, opened, written
from tests.kale import kale


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """Two arms with two seeds, from one command."""
    folder = tmp_path_factory.mktemp("evaluation")
    answer = kale("evaluate", "downstream", written(folder), "--json", sets=[f"warehouse={folder}/lake"])
    assert answer.code == 0, answer.err
    return opened(folder)


def file(of: Evaluation, name: str) -> Path:
    return Path(of.storage.root, of.folder, name)


def test_every_question_of_every_run_has_an_answer(made: Evaluation) -> None:
    rows = made.answers().to_pylist()
    assert len(rows) == 2 * 2 * 40
    assert {(row["arm"], row["seed"]) for row in rows} == {(a, s) for a in ("dense", "fused") for s in (1, 2)}
    assert {row["design"] for row in rows} == {made.design.hash}
    assert made.pending() == []


def test_the_report_says_what_is_shown_and_what_could_have_been_seen(made: Evaluation) -> None:
    found = json.loads(file(made, "report.json").read_text())
    (row,) = found["outcomes"]["primary"]
    assert row["low"] <= row["difference"] <= row["high"]
    assert "would have been seen" in row["verdict"] or "better" in row["verdict"] or "worse" in row["verdict"]
    page = file(made, "report.html").read_text()
    assert page.count("<svg") == 2
    assert "Shown: " in page and made.design.hash[:16] in page
    assert "| fused | dense |" in file(made, "report.md").read_text()


def test_arms_learn_from_equally_many_tokens(made: Evaluation) -> None:
    passes = {name: one["pretrain"]["passes"] * one["words"] for name, one in made.figures().items()}
    assert passes["fused-1"] == pytest.approx(passes["dense-1"], rel=0.35)  # words are no tokens, but near
    model = SmallModel(made.design.model, made.data, 1)
    for arm in ("dense", "fused"):
        stream = model.steps(made.data.captions(made.design.arms[arm]), made.design.pretrain.tokens, [1, 0])
        learnt = sum(len(one.answer) for _ in range(5) for one in next(stream))
        assert learnt == pytest.approx(5 * made.design.pretrain.tokens, abs=150)


def test_seeds_and_arms_give_other_models(made: Evaluation) -> None:
    losses = {one["pretrain"]["loss"] for one in made.figures().values()}
    assert len(losses) == 4


def test_a_run_that_was_killed_goes_on_and_ends_the_same(
    made: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = opened(tmp_path)
    left, learn = [7], SmallModel.learn  # dies in the second phase, after a checkpoint in it

    def dying(self: SmallModel, *given: Any) -> float:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return learn(self, *given)

    monkeypatch.setattr(SmallModel, "learn", dying)
    with pytest.raises(KeyboardInterrupt):
        of.run("fused-2", Silent())
    assert of.pending() == made.design.runs() or "fused-2" in of.pending()
    left[0] = 9 - 6  # it continues from step 6
    figures = of.run("fused-2", Silent())
    assert left[0] == 0
    assert figures["tune"]["loss"] == made.figures()["fused-2"]["tune"]["loss"]
    table = pq.read_table(file(of, "runs/fused-2/answers.parquet"))
    assert table.equals(pq.read_table(file(made, "runs/fused-2/answers.parquet")))
    assert not file(of, "runs/fused-2/checkpoint.safetensors").exists()


def test_a_changed_design_is_refused_after_the_first_result(made: Evaluation) -> None:
    folder = Path(made.storage.root).parent
    path = written(folder, alpha=0.1)
    answer = kale("evaluate", "downstream", path, "--run", "dense-1", sets=[f"warehouse={folder}/lake"])
    written(folder)
    assert answer.code == 2
    assert "alpha" in answer.complaint and "another name" in answer.complaint


def test_a_run_that_is_made_is_not_made_again(made: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SmallModel, "__init__", lambda *_: pytest.fail("made again"))
    assert made.run("dense-1", Silent())["arm"] == "dense"


def test_the_list_names_what_is_missing(tmp_path: Path) -> None:
    sets = [f"warehouse={tmp_path}/lake"]
    path = written(tmp_path)
    listed = kale("evaluate", "downstream", path, "--list", "--json", sets=sets).json
    assert [one["run"] for one in listed] == ["dense-1", "fused-1", "dense-2", "fused-2"]
    answer = kale("evaluate", "downstream", path, "--run", "dense-7", sets=sets)
    assert (answer.code, "dense-1" in answer.complaint) == (2, True)
    answer = kale("evaluate", "report", path, sets=sets)
    assert (answer.code, "kale evaluate downstream" in answer.complaint) == (2, True)


@pytest.mark.parametrize(
    "data", [{**SMALL["data"], "source": "nowhere"}, {**SMALL["data"], "colour": "red"}], ids=["source", "option"]
)
def test_unknown_data_is_an_error(tmp_path: Path, data: dict[str, Any]) -> None:
    with pytest.raises(BadConfig, match=r"nowhere|colour"):
        _ = opened(tmp_path, data=data).data
