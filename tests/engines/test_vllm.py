"""When vLLM's process dies, every request still gets its answer, and the engine stays fast.

A scripted process takes the place of vLLM; test_engines.py runs the real one.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kale_tasks.engines.base import Answer, Engine, Model, Request, open_engine
from kale_tasks.errors import BadConfig, Transient
from kale_tasks.recipes.recipe import load_recipe
from tests.engines import scripted_vllm
from tests.lakes import settings_of

TASK = load_recipe("demo").task("dense")
Opener = Callable[..., Engine]


@pytest.fixture
def scripted(tmp_path: Path) -> Opener:
    """Opens an engine whose process follows a script."""

    def opened(*sets: str, **script: Any) -> Engine:
        (tmp_path / "script.json").write_text(json.dumps(script))
        python = tmp_path / "python"
        code = Path(scripted_vllm.__file__).read_text()
        python.write_text(f"#!{sys.executable} -IS\n{code}")
        python.chmod(0o755)
        return engine(f"caption.vllm_python={python}", *sets)

    return opened


def engine(*sets: str) -> Engine:
    settings = settings_of(["caption.engine=vllm", "caption.batch=64", *sets]).caption
    return open_engine(settings, Model("tiny@0", TASK, lambda: Path("nowhere")))


def ask(running: Engine, count: int, together: int = 64, text: Callable[[int], str] = str) -> dict[int, Answer]:
    """Ask `count` requests, at most `together` at once, as the captioning steps do."""
    running.start()
    answers: dict[int, Answer] = {}
    sent = 0
    while len(answers) < count:
        while sent < count and running.pending < together:
            running.submit(Request(sent, [{"role": "user", "content": text(sent)}]))
            sent += 1
        answers |= {answer.id: answer for answer in running.finished()}
    return answers


def logged(folder: Path, name: str) -> list[Any]:
    entries = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [entry[name] for entry in entries if name in entry]


def test_after_a_death_requests_are_asked_together_again(scripted: Opener, tmp_path: Path) -> None:
    with scripted(die_once_after=100) as running:
        answers = ask(running, 1000)
    assert {answer.text for answer in answers.values()} == {"A tower."}
    assert running.times.starts == 2
    assert len(logged(tmp_path, "batch")) < 200


def test_only_the_request_that_kills_vllm_fails(scripted: Opener, tmp_path: Path) -> None:
    with scripted(poison=["70"]) as running:
        answers = ask(running, 300)
    assert [id for id, answer in answers.items() if answer.reason] == [70]
    assert answers[70].reason == "engine_died"
    assert running.times.starts <= 10  # a start, one for each halving of 64 requests, and two more
    assert len(logged(tmp_path, "batch")) < 100


def test_a_death_does_not_reduce_the_batch_but_a_second_one_soon_after_does(scripted: Opener, tmp_path: Path) -> None:
    with scripted(poison=["70", "200"]) as running:
        ask(running, 300)
    batches = [model["batch"] for model in logged(tmp_path, "model")]
    assert batches[1] == 64
    assert batches[-1] == 32
    running.start()
    running.stop()
    assert logged(tmp_path, "model")[-1]["batch"] == 64


def test_a_vllm_that_dies_of_everything_ends_the_run_and_blames_no_row(scripted: Opener) -> None:
    with scripted(poison=["x"]) as running:
        running.start()
        for i in range(8):
            running.submit(Request(i, [{"role": "user", "content": "x"}]))
        with pytest.raises(Transient, match="hardly to blame"):
            while running.pending:
                assert running.finished() == []


def test_the_last_request_can_be_the_one_to_blame(scripted: Opener) -> None:
    with scripted(poison=["x"]) as running:
        assert ask(running, 1, text=lambda i: "x")[0].reason == "engine_died"


def test_the_process_gets_the_settings_and_no_credentials(
    scripted: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KALE_S3__SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "3")
    with scripted("caption.preparers=3", "caption.vllm_memory=0.5", "caption.timeout_s=7") as running:
        running.start()
    (model,) = logged(tmp_path, "model")
    assert (model["preparers"], model["memory"], model["timeout"], model["top_p"]) == (3, 0.5, 7, 1)
    (environment,) = logged(tmp_path, "environment")
    assert "CUDA_VISIBLE_DEVICES" in environment and "PATH" in environment
    assert not {"KALE_S3__SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN"} & set(environment)


def test_a_failed_start_can_be_tried_again(scripted: Opener) -> None:
    with scripted(fail_start=True) as running, pytest.raises(Transient, match=r"while it loaded tiny@0"):
        running.start()


@pytest.mark.parametrize(
    ("python", "message"), [("/no/python", "cannot be run"), (sys.executable, "cannot import vLLM")]
)
def test_a_start_without_vllm_is_a_configuration_error(python: str, message: str) -> None:
    with engine(f"caption.vllm_python={python}") as running, pytest.raises(BadConfig, match=message):
        running.start()
