"""A thought never becomes a caption, whichever engine runs the model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kale_tasks.engines.base import Answer, Model, Request, open_engine
from kale_tasks.engines.thought import opened_thought, without_thought
from kale_tasks.recipes.parts import Task
from kale_tasks.recipes.recipe import load_recipe
from tests.engines.scripts import Opener, ask, logged
from tests.engines.server import serving
from tests.lakes import settings_of

TASK = load_recipe("demo").task("fused")
CAPTION = "A red Ferrari is parked on a street."
QUESTION = [{"role": "user", "content": "What?"}]


def thinking(value: bool | None) -> Task:
    return TASK.model_copy(update={"thinking": value})


@pytest.mark.parametrize(
    "text",
    [
        CAPTION,
        f"<think>\nThe description says a red car.\n</think>\n\n{CAPTION}",
        f"The description says a red car.</think>{CAPTION}",
        f"<think>\n\n</think>\n\n{CAPTION}",
        f"[THINK]It is red.[/THINK]{CAPTION}",
        f"\u25c1think\u25b7It is red.\u25c1/think\u25b7{CAPTION}",
        f"<|channel|>analysis<|message|>It is red.<|end|><|start|>assistant<|channel|>final<|message|>{CAPTION}",
        f"analysisWe need a caption.assistantfinal{CAPTION}",
        f"<think>One.</think><think>Two.</think>{CAPTION}",
    ],
)
def test_a_thought_is_taken_out_with_its_content(text: str) -> None:
    assert without_thought(Answer(0, text, 9, 9, "stop"), TASK) == Answer(0, CAPTION, 9, 9, "stop")


@pytest.mark.parametrize(
    "text",
    [
        "<think>The description says a red car is on a street and the name in it is Ferrari.",
        "<think>It is red.</think>\n",
        "analysisWe need a caption of a red car",
        "<think>One.</think> <think>Another thought that was cut off",
    ],
)
def test_a_thought_without_an_answer_is_a_reason(text: str) -> None:
    answer = without_thought(Answer(0, text, 9, 64, "length"), TASK)
    assert (answer.text, answer.reason, answer.tokens_out) == ("", "thought_only", 64)
    assert "64 tokens of thought" in answer.detail


def test_a_cut_answer_of_a_model_that_has_to_think_is_a_thought() -> None:
    cut = Answer(0, "The description says a red car and", 9, 64, "length")
    assert without_thought(cut, thinking(True)).reason == "thought_only"
    assert without_thought(cut, thinking(None)) == cut
    assert without_thought(replace(cut, finish="stop"), thinking(True)).text == cut.text


def test_failures_and_plain_words_stay_as_they_are() -> None:
    for answer in (Answer(0, reason="timeout"), Answer(0, "analysis of a painting", finish="stop")):
        assert without_thought(answer, TASK) == answer


def test_a_template_can_open_the_thought() -> None:
    assert opened_thought("<|im_start|>assistant\n<think>\n") == "<think>"
    assert opened_thought("<|im_start|>assistant\n<think>\n\n</think>\n\n") == ""


def test_vllm_and_servers_learn_whether_to_think(scripted: Opener, tmp_path: Path) -> None:
    sent = {"enable_thinking": False, "thinking": False}
    with scripted(task=thinking(False)) as running:
        ask(running, 1)
    assert [model["template"] for model in logged(tmp_path, "model")] == [sent]

    def reply(body: dict[str, Any]) -> web.Response:
        return web.json_response(
            {"choices": [{"message": {"content": None, "reasoning": "hm"}, "finish_reason": "stop"}]}
        )

    for value, arguments in ((False, sent), (None, None)):
        with serving(reply=reply) as server:
            model = Model("tiny@0", thinking(value), lambda: Path("nowhere"), [server.url])
            with open_engine(settings_of(["caption.engine=openai"]).caption, model) as engine:
                engine.start()
                engine.submit(Request(0, QUESTION))
                (answer,) = engine.finished()
        assert server.bodies[0].get("chat_template_kwargs") == arguments
        assert without_thought(answer, TASK).reason == "thought_only"


def test_the_transformers_engine_renders_the_template_with_the_arguments(models: Path) -> None:
    template = (
        "{% for m in messages %}{{ m.content }}{% endfor %}"
        "{% if enable_thinking is defined and not enable_thinking %}quiet{% else %}<think>\n{% endif %}"
    )
    texts = []
    for value in (False, None):
        settings = settings_of(["caption.engine=transformers", "caption.device=cpu"]).caption
        with open_engine(settings, Model("tiny@0", thinking(value), lambda: models / "reads")) as engine:
            engine.start()
            engine._tokenizer.chat_template = template  # type: ignore[attr-defined]
            engine.submit(Request(0, QUESTION))
            texts.append(engine._waiting[0].text)  # type: ignore[attr-defined]
            (answer,) = engine.finished()
    assert texts == ["What?quiet", "What?<think>\n"]
    assert answer.text.startswith("<think>") and without_thought(answer, TASK).reason == "thought_only"
