"""Engines are interchangeable: they give the same answers, and a failed request fails alone."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from kale_tasks.engines.base import Answer, Engine, Model, Request, open_engine
from kale_tasks.recipes.parts import Task
from kale_tasks.recipes.recipe import load_recipe
from tests.captions.world import pairs
from tests.lakes import settings_of

VLLM = Path(__file__).parents[2] / ".venv-vllm/bin/python"
RECIPE = load_recipe("demo")
TASK: Task = RECIPE.task("dense").model_copy(
    update={"sampling": RECIPE.task("dense").sampling.model_copy(update={"max_tokens": 12}), "model": "tiny"}
)


def engine(kind: str, folder: Path, *sets: str, endpoints: Sequence[str] = (), task: Task = TASK) -> Engine:
    fixed = [f"caption.engine={kind}", "caption.device=cpu", "caption.batch=4", f"caption.vllm_python={VLLM}"]
    return open_engine(settings_of([*fixed, *sets]).caption, Model("tiny@0", task, lambda: folder, endpoints))


def answers(running: Engine, requests: Sequence[Request]) -> dict[int, Answer]:
    for request in requests:
        running.submit(request)
    found: dict[int, Answer] = {}
    while running.pending:
        found |= {answer.id: answer for answer in running.finished()}
    return found


def requests(count: int, temperature: float = 0.0) -> list[Request]:
    return [
        Request(i, RECIPE.student.prompt.messages({"alt": pair.alt.text}, image=True), pair.image, temperature, seed=i)
        for i, pair in enumerate(pairs(10)[:count])
    ]


@pytest.fixture(scope="module")
def plain(models: Path) -> dict[int, Answer]:
    """The answers of the transformers engine, which the others must give too."""
    with engine("transformers", models / "sees") as running:
        running.start()
        return answers(running, requests(10))


@contextmanager
def vllm_serving(folder: Path, name: str, context: int, *more: str) -> Iterator[str]:
    """A real vLLM server of a model."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(VLLM), "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--enforce-eager"]
    command += ["--served-model-name", name, "--port", str(port), "--dtype", "float32", "--host", "127.0.0.1"]
    command += ["--max-model-len", str(context), "--generation-config", "vllm", *more]
    process = subprocess.Popen(
        command,
        env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "ERROR"},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError("vLLM's server did not start; run scripts/vllm first")


@pytest.fixture(scope="module")
def sure(models: Path) -> Iterator[dict[str, Engine]]:
    """Both engines, started, with answers that say how sure they are."""
    task, kinds = TASK.model_copy(update={"confidence": True}), ("transformers", "vllm")
    with ExitStack() as stack:
        running = {kind: stack.enter_context(engine(kind, models / "sees", task=task)) for kind in kinds}
        for one in running.values():
            one.start()
        yield running


def unsure(found: dict[int, Answer]) -> dict[int, Answer]:
    """The answers as engines give them that are not asked how sure they are."""
    return {id: replace(answer, confidence=None) for id, answer in found.items()}


def test_vllm_is_as_sure_of_its_answers_as_transformers(sure: dict[str, Engine], plain: dict[int, Answer]) -> None:
    asked = [*requests(8), Request(90, requests(1)[0].messages, b"no image")]
    found = {kind: answers(running, asked) for kind, running in sure.items()}
    for id in range(8):
        one, other = (found[kind][id] for kind in found)
        assert one.confidence is not None and one.confidence < -0.01
        assert other.confidence == pytest.approx(one.confidence, abs=1e-3)
        assert replace(one, confidence=None) == replace(other, confidence=None) == plain[id]
    assert len({round(found["vllm"][id].confidence or 0, 3) for id in range(8)}) > 4
    assert found["vllm"][90].confidence is None


def test_vllm_gives_the_same_tokens_and_a_reason_for_each_failure(
    sure: dict[str, Engine], plain: dict[int, Answer]
) -> None:
    bad = [
        Request(90, requests(1)[0].messages, b"no image"),
        Request(91, [{"role": "user", "content": "word " * 3000}]),
    ]
    outcome = unsure(answers(sure["vllm"], [*bad, *requests(10)]))
    assert (outcome.pop(90).reason, outcome.pop(91).reason) == ("image_broken", "too_long")
    assert outcome == plain


@pytest.mark.nightly  # tests/engines/test_vllm.py has the deaths of processes that follow a script
def test_vllm_gives_the_same_tokens_also_after_its_process_died(
    sure: dict[str, Engine], plain: dict[int, Answer]
) -> None:
    running = sure["vllm"]
    for request in requests(10):
        running.submit(request)
    os.killpg(running._groups[0].process.pid, signal.SIGKILL)  # type: ignore[attr-defined]
    found: dict[int, Answer] = {}
    while running.pending:
        found |= {answer.id: answer for answer in running.finished()}
    assert unsure(found) == plain
    assert running.times.starts == 2
    assert unsure(answers(running, requests(2))) == {id: plain[id] for id in range(2)}


def test_the_transformers_engine_gives_a_reason_for_each_failure(models: Path, plain: dict[int, Answer]) -> None:
    image = pairs(1)[0].image
    bad = [
        Request(90, requests(1)[0].messages, b"no image"),
        Request(91, requests(1)[0].messages, image[:300]),
        Request(92, [{"role": "user", "content": "word " * 3000}]),
        *requests(6),
    ]
    with engine("transformers", models / "sees") as running:
        running.start()
        outcome = answers(running, bad)
    assert [outcome[i].reason for i in (90, 91, 92)] == ["image_broken", "image_broken", "too_long"]
    assert {i: outcome[i] for i in range(6)} == {i: plain[i] for i in range(6)}


def test_a_lack_of_memory_halves_the_batch(
    models: Path, plain: dict[int, Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    with engine("transformers", models / "sees") as running:
        running.start()
        model, sizes = running._model, []  # type: ignore[attr-defined]
        generate = model.generate

        def small_device(**inputs: object) -> object:
            sizes.append(len(inputs["input_ids"]))  # type: ignore[arg-type]
            if sizes[-1] > 1:
                raise torch.OutOfMemoryError("device out of memory")
            return generate(**inputs)

        monkeypatch.setattr(model, "generate", small_device)
        assert answers(running, requests(8)) == {i: plain[i] for i in range(8)}
    assert sizes[:3] == [4, 2, 1]
    assert sizes.count(4) == 1


def test_a_sampled_answer_depends_on_its_seed_and_not_on_its_batch(models: Path) -> None:
    with engine("transformers", models / "sees") as running:
        running.start()
        together = answers(running, requests(4, temperature=1.0))
        alone = {i: answers(running, [request])[i] for i, request in enumerate(requests(4, temperature=1.0))}
        other = answers(running, [Request(0, r.messages, r.image, 1.0, seed=99) for r in requests(1)])
    assert together == alone
    assert other[0].text != alone[0].text


def test_a_small_top_p_makes_sampling_greedy(models: Path, plain: dict[int, Answer]) -> None:
    task = TASK.model_copy(update={"sampling": TASK.sampling.model_copy(update={"top_p": 1e-6})})
    settings = settings_of(["caption.engine=transformers", "caption.device=cpu"]).caption
    with open_engine(settings, Model("tiny@0", task, lambda: models / "sees")) as running:
        running.start()
        sampled = answers(running, requests(4, temperature=1.0))
    assert {i: answer.text for i, answer in sampled.items()} == {i: plain[i].text for i in range(4)}


def test_a_request_over_the_time_limit_has_the_reason_timeout(models: Path) -> None:
    with engine("transformers", models / "sees", "caption.timeout_s=0.000001") as running:
        running.start()
        assert {answer.reason for answer in answers(running, requests(3)).values()} == {"timeout"}


def test_an_engine_can_be_stopped_and_started_again(models: Path, plain: dict[int, Answer]) -> None:
    running = engine("transformers", models / "sees")
    for _ in range(2):
        running.start()
        assert answers(running, requests(2)) == {i: plain[i] for i in range(2)}
        running.stop()
    assert running.times.starts == 2
