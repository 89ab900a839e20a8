"""Bodies of chat completions, as OpenAI's API defines them: requests, answers and refusals."""

import base64
from typing import Any

import aiohttp

from kale_tasks.engines.base import REJECTED, TOO_LONG, Answer, Model, Request
from kale_tasks.engines.thought import OPENING_MARKS, template_arguments
from kale_tasks.imaging import SNIFFED_BYTES, fit, image_type
from kale_tasks.models.locate import SERVED

# What a retry may change.
BUSY = {408, 409, 425, 429, 500, 502, 503, 504}


def request_body(model: Model, request: Request) -> dict[str, Any]:
    """Return the body of a request; BrokenImage if its image cannot be sent. Images are data URIs, never links."""
    sampling, template = model.task.sampling, template_arguments(model.task)
    image = _data_uri(fit(request.image, 0)) if request.image else ""
    return {
        "model": served_name(model),
        "messages": [{**message, "content": _with_image(message["content"], image)} for message in request.messages],
        "max_tokens": sampling.max_tokens,
        "temperature": request.temperature,
        "top_p": sampling.top_p,
        "seed": request.seed,
        **({"chat_template_kwargs": template} if template else {}),
        **({"logprobs": True} if model.task.confidence else {}),
    }


def served_name(model: Model) -> str:
    """Return the name on the Hub, or else the one that a server was started with, such as `sample:teacher`."""
    name = model.task.model
    return name.removeprefix(SERVED) if name.startswith(SERVED) else name.partition("@")[0] or model.name


def read_completion(id: int, completion: Any, max_tokens: int) -> Answer:
    """Return the answer in a completion. LookupError, TypeError or ValueError if it is none.

    A server may cut an answer short where prompt and answer together reach the context; other engines refuse such a
    prompt, and so does this.
    """
    choice, usage = completion["choices"][0], completion.get("usage") or {}
    message = choice["message"]
    text = message["content"] or ""
    if not text.strip() and (message.get("reasoning_content") or message.get("reasoning")):
        text = OPENING_MARKS[0]  # the server has taken the thought out, and nothing is left
    tokens_in, tokens_out = (int(usage.get(name, 0)) for name in ("prompt_tokens", "completion_tokens"))
    finish = "length" if choice.get("finish_reason") == "length" else "stop"
    if finish == "length" and 0 < tokens_out < max_tokens:
        return Answer(id, tokens_in=tokens_in, reason=TOO_LONG, detail=f"{tokens_in} tokens")
    return Answer(id, text, tokens_in, tokens_out, finish, confidence=_confidence(choice.get("logprobs")))


async def said_in(response: aiohttp.ClientResponse) -> str:
    """Return the beginning of what a server says, without the key that it was sent: some servers repeat it."""
    text, key = await response.text(errors="replace"), response.request_info.headers.get("Authorization", "")
    return (text.replace(key.removeprefix("Bearer "), "[key]") if key else text)[:200]


def rejected(id: int, detail: str) -> Answer:
    """Return the answer to a request that a server refused with a status that a retry cannot change."""
    too_long = "context length" in detail or "too long" in detail or "max_model_len" in detail
    return Answer(id, reason=TOO_LONG if too_long else REJECTED, detail=detail[:200])


def _confidence(logprobs: Any) -> float | None:
    """The mean log-probability of the tokens of a completion, if the server says it."""
    found = [float(token["logprob"]) for token in (logprobs or {}).get("content") or ()]
    return sum(found) / len(found) if found else None


def _with_image(content: Any, image: str) -> Any:
    if isinstance(content, str):
        return content
    part = {"type": "image_url", "image_url": {"url": image}}
    return [part if given["type"] == "image" else given for given in content]


def _data_uri(data: bytes) -> str:
    return f"data:{image_type(data[:SNIFFED_BYTES])};base64,{base64.b64encode(data).decode()}"
