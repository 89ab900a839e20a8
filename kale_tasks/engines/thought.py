"""Models that think before they answer: how to turn that off, and how a thought is taken out of an answer."""

import re
from dataclasses import replace
from typing import Any

from kale_tasks.engines.base import THOUGHT_ONLY, Answer
from kale_tasks.recipes.parts import Task

# How families of models enclose a thought. Special tokens among these marks are gone from a decoded text.
_MARKS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
    "\u25c1think\u25b7": "\u25c1/think\u25b7",
    "<|channel|>analysis<|message|>": "<|channel|>final<|message|>",
}
OPENING_MARKS = [mark for mark in _MARKS if not mark.startswith("<|")]
_OPEN = re.compile("|".join(map(re.escape, _MARKS)))
_CLOSE = re.compile("|".join(map(re.escape, _MARKS.values())))
# What is left of gpt-oss's channels without their special tokens.
_BARE_CHANNELS = re.compile(r"\s*analysis(?=[A-Z]).*?(?:assistantfinal|\Z)", re.DOTALL)


def template_arguments(task: Task) -> dict[str, Any]:
    """Return the arguments of the chat template that turn thinking on or off, by the names that templates use."""
    return {} if task.thinking is None else {"enable_thinking": task.thinking, "thinking": task.thinking}


def opened_thought(prompt: str) -> str:
    """Return the mark with which a template has opened a thought at the end of a prompt, if it has."""
    return next((mark for mark in OPENING_MARKS if prompt.rstrip().endswith(mark)), "")


def without_thought(answer: Answer, task: Task) -> Answer:
    """Take the thought out of an answer. An answer that is nothing else becomes one without text, with a reason."""
    if answer.reason:
        return answer
    *thought, text = _CLOSE.split(answer.text)
    if bare := _BARE_CHANNELS.match(text):
        thought, text = [bare[0]], text[bare.end() :]
    cut = _OPEN.search(text) or (task.thinking is True and not thought and answer.finish == "length")
    if cut or (thought and not text.strip()):
        detail = f"{answer.tokens_out} tokens of thought, {answer.finish}: raise max_tokens or set thinking: false"
        return replace(answer, text="", reason=THOUGHT_ONLY, detail=detail)
    return replace(answer, text=text.lstrip() if thought else text)
