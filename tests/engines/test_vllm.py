"""When vLLM's process dies, every request still gets its answer, and the engine stays fast.

A scripted process takes the place of vLLM; test_engines.py runs the real one.
"""

import sys
from pathlib import Path

import pytest

from kale_tasks.engines.base import Request
from kale_tasks.errors import BadConfig, Transient
from tests.engines.scripts import Opener, ask, engine, logged, rate


def test_after_a_death_requests_are_asked_together_again(scripted: Opener, tmp_path: Path) -> None:
    with scripted(die_after=100) as running:
        answers = ask(running, 1000)
    assert {answer.text for answer in answers.values()} == {"A tower."}
    assert running.times.starts == 2
    assert len(logged(tmp_path, "batch")) < 200


@pytest.mark.parametrize(("count", "least"), [(3_000, 0.8), pytest.param(20_000, 0.95, marks=pytest.mark.nightly)])
def test_after_a_death_the_rest_goes_on_at_full_speed(
    scripted: Opener, tmp_path: Path, count: int, least: float
) -> None:
    times: list[float] = []
    half = count // 2
    with scripted("caption.in_flight=128", width=64, seconds=0.05, die_after=half, ids=True) as running:
        answers = ask(running, count, together=128, times=times)
    assert not any(answer.reason for answer in answers.values())
    assert running.times.starts == 2
    assert rate(times, half + 512, count - 128) >= least * rate(times, 128, half - 128)
    widths, asked = logged(tmp_path, "batch"), logged(tmp_path, "ids")
    died = next(i for i in range(len(widths)) if sum(widths[: i + 1]) >= half)
    twice = {id for id in asked[died]} & {id for ids in asked[died + 1 :] for id in ids}
    assert len(twice) <= 128
    assert sum(widths) - count <= 128


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
    sequences = [model["arguments"].get("max_num_seqs") for model in logged(tmp_path, "model")]
    assert (sequences[0], sequences[1], sequences[-1]) == (None, 64, 32)
    running.start()
    running.stop()
    assert logged(tmp_path, "model")[-1]["arguments"] == {}


def test_a_vllm_that_dies_of_everything_ends_the_run_and_blames_no_row(scripted: Opener) -> None:
    with scripted(poison=["x"]) as running:
        running.start()
        for i in range(8):
            running.submit(Request(i, [{"role": "user", "content": "x"}]))
        with pytest.raises(Transient, match="no request is to blame"):
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
    own = "caption.vllm={gpu_memory_utilization: 0.5}"
    with scripted("caption.preparers=3", own, "caption.timeout_s=7") as running:
        running.start()
    (model,) = logged(tmp_path, "model")
    assert (model["preparers"], model["timeout"], model["top_p"]) == (3, 7, 1)
    assert model["arguments"] == {"gpu_memory_utilization": 0.5}
    (environment,) = logged(tmp_path, "environment")
    assert "CUDA_VISIBLE_DEVICES" in environment and "PATH" in environment
    assert not {"KALE_S3__SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN"} & set(environment)


def test_an_argument_that_changes_answers_is_refused() -> None:
    with pytest.raises(BadConfig, match="quantization changes answers"):
        engine("caption.vllm={quantization: fp8}")


def test_a_failed_start_can_be_tried_again(scripted: Opener) -> None:
    with scripted(fail_start=True) as running, pytest.raises(Transient, match=r"while it loaded tiny@0"):
        running.start()


@pytest.mark.parametrize(
    ("python", "message"), [("/no/python", "cannot be run"), (sys.executable, "cannot import vLLM")]
)
def test_a_start_without_vllm_is_a_configuration_error(python: str, message: str) -> None:
    with engine(f"caption.vllm_python={python}") as running, pytest.raises(BadConfig, match=message):
        running.start()
