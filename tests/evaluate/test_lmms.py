"""lmms-eval asks a trained model a local task of twenty questions, and agrees with our own loop."""

from pathlib import Path

import pytest

from kale_tasks.errors import BadConfig, BadData
from kale_tasks.evaluate.design import Runner
from kale_tasks.evaluate.lmms import OWN, _score, ask
from kale_tasks.progress import Silent
from tests.evaluate.small import SMALL, opened

PYTHON = Path(__file__).parents[2] / ".venv-bench-lmms/bin/python"
TWENTY = {**SMALL["data"], "questions": 20}


@pytest.mark.nightly
@pytest.mark.timeout(600)
@pytest.mark.skipif(not PYTHON.exists(), reason="scripts/bench-env makes the environment of lmms-eval")
def test_lmms_eval_and_our_loop_give_the_same_answers(tmp_path: Path) -> None:
    of = opened(tmp_path, data=TWENTY, runner={"tasks": [OWN], "python": str(PYTHON)})
    of.run("fused-1", Silent())
    rows = {row["uid"]: row for row in of.answers().to_pylist()}
    own = {uid: row for uid, row in rows.items() if not uid.startswith(OWN)}
    theirs = {uid.removeprefix(f"{OWN}/"): row for uid, row in rows.items() if uid.startswith(OWN)}
    assert len(own) == len(theirs) == 20
    for uid, row in own.items():
        assert (theirs[uid]["answer"], theirs[uid]["right"]) == (row["answer"], row["right"])
        assert theirs[uid]["cluster"] == row["cluster"]


def test_without_the_environment_the_script_is_named(tmp_path: Path) -> None:
    of = opened(tmp_path, data=TWENTY, runner={"tasks": [OWN], "python": str(tmp_path / "python")})
    with pytest.raises(BadConfig, match="scripts/bench-env"):
        of.run("fused-1", Silent())


def test_a_failure_of_lmms_eval_with_exit_code_0_is_an_error(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nprintf '\\033[31mError during evaluation: no such device\\033[0m\\n'\n")
    python.chmod(0o755)
    runner = Runner(tasks=["pope"], python=str(python))
    with pytest.raises(BadData, match=r"failed: no such device$"):
        list(ask(tmp_path, [], lambda _: b"", runner, 8))


def test_a_metric_is_a_number_or_has_a_score() -> None:
    sample = {"doc_id": 3, "target": "1", "filtered_resps": "1", "token_counts": {"score": 9}}
    assert _score("a", {**sample, "exact_match": 0.3}) == 0.3
    assert _score("a", {**sample, "pope_accuracy": {"question_id": 4, "score": 1.0}}) == 1.0
    with pytest.raises(BadData, match="metric"):
        _score("a", sample)
