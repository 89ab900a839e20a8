"""The engines give the same for models of real architectures, with their processor settings and chat templates.

The weights are random and the vocabularies small; everything before and behind the weights is as in production.
"""

import base64
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from kale_tasks.engines import vllm_worker
from kale_tasks.engines.base import Answer, Engine, Model, Request, open_engine
from kale_tasks.engines.chat_api import request_body
from kale_tasks.engines.vllm import describe_model
from kale_tasks.engines.vllm_process import vllm_environment
from kale_tasks.settings.caption import Caption
from tests.engines import render_probe
from tests.engines.families import CALLS, model_of, requests_of
from tests.engines.test_engines import VLLM, answers, vllm_serving
from tests.lakes import settings_of

# The shipped recipes' captioner runs in every test run, the other families at night.
FAMILIES = [family if family == "qwen3_vl" else pytest.param(family, marks=pytest.mark.nightly) for family in CALLS]


def settings(kind: str) -> Caption:
    fixed = [f"caption.engine={kind}", "caption.device=cpu", "caption.batch=4", f"caption.vllm_python={VLLM}"]
    return settings_of(fixed).caption


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(family: str, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return model_of(family, tmp_path_factory.getbasetemp() / family)


@pytest.fixture(scope="module")
def plain(model: Model) -> Iterator[Engine]:
    """The transformers engine, started."""
    with open_engine(settings("transformers"), model) as running:
        running.start()
        yield running


@pytest.fixture(scope="module")
def asked(family: str, plain: Engine) -> list[Request]:
    """Requests of all shapes, and five whose lengths are around the longest that the context allows."""
    requests = requests_of(family)
    return [*requests, *around_the_limit(plain, requests[0])]


@pytest.fixture(scope="module")
def expected(plain: Engine, asked: list[Request]) -> dict[int, Answer]:
    return answers(plain, asked)


def around_the_limit(plain: Engine, request: Request) -> list[Request]:
    longest = plain.task.context - plain.task.sampling.max_tokens - len(prompt_ids(plain, request))
    return [replace(request, id=100 + n, messages=with_words(request, longest - 2 + n)) for n in range(5)]


def with_words(request: Request, count: int) -> Any:
    *first, last = request.messages
    words = " a" * count
    content = last["content"]
    if isinstance(content, str):
        return [*first, {**last, "content": content + words}]
    return [*first, {**last, "content": [*content[:-1], {**content[-1], "text": content[-1]["text"] + words}]}]


def prompt_ids(plain: Engine, request: Request) -> list[int]:
    found: list[int] = prepared(plain, request)["input_ids"][0].tolist()
    return found


def prepared(plain: Any, request: Request) -> Any:
    plain.submit(request)
    return plain._prepare([plain._waiting.pop()])


def test_answers_depend_on_images_and_prompts(family: str, expected: dict[int, Answer]) -> None:
    made = [expected[n] for n in range(6)]
    assert not any(one.reason for one in made)
    if family != "gemma3":  # whose random weights give one answer to everything
        assert len({one.text for one in made}) >= 3


@pytest.mark.nightly
def test_prompts_and_pixels_are_those_of_vllm(family: str, model: Model, plain: Engine, asked: list[Request]) -> None:
    given = {
        "worker": vllm_worker.__file__,
        "model": describe_model(settings("vllm"), model.task, str(model.folder())),
        "requests": [
            {"messages": one.messages, "image": base64.b64encode(one.image or b"").decode()} for one in asked[:6]
        ],
    }
    probe = [str(VLLM), "-P", render_probe.__file__]
    pipes: Any = {"input": json.dumps(given) + "\n", "stdout": subprocess.PIPE, "text": True}
    ran = subprocess.run(probe, env=vllm_environment(), check=True, **pipes)
    for one, found in zip(asked, json.loads(ran.stdout), strict=False):
        ours = prepared(plain, one)
        assert ours["input_ids"][0].tolist() == found["ids"]
        if one.image:
            pixels = ours["pixel_values"]
            assert list(pixels.shape)[-len(found["shape"]) :] == found["shape"]
            assert abs(float(pixels.mean()) - found["mean"]) < 2e-3


@pytest.mark.nightly
def test_vllm_gives_the_same_tokens_and_refuses_the_same(
    model: Model, asked: list[Request], expected: dict[int, Answer]
) -> None:
    assert {expected[n].reason for n in range(100, 105)} == {"", "too_long"}
    with open_engine(settings("vllm"), model) as running:
        running.start()
        assert answers(running, asked) == expected


@pytest.mark.nightly
def test_a_vllm_server_gives_the_same_prompts_and_tokens_and_refuses_the_same(
    family: str, model: Model, plain: Engine, asked: list[Request], expected: dict[int, Answer]
) -> None:
    with vllm_serving(model.folder(), f"org/{family}", model.task.context) as url:
        served = replace(model, endpoints=[url])
        body = {**request_body(served, asked[0]), "return_token_ids": True}
        head = {"Content-Type": "application/json"}
        with urllib.request.urlopen(
            urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode(), head), timeout=60
        ) as said:
            assert json.load(said)["prompt_token_ids"] == prompt_ids(plain, asked[0])
        with open_engine(settings("openai"), served) as running:
            running.start()
            found = answers(running, asked)
    common = ("text", "tokens_out", "finish", "reason")
    assert {n: [getattr(one, name) for name in common] for n, one in found.items()} == {
        n: [getattr(one, name) for name in common] for n, one in expected.items()
    }
