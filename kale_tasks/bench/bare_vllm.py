"""Bare vLLM: its offline class, all requests at once. Runs in vLLM's interpreter; imports nothing of this project.

The first line of stdin describes the model as for `vllm_worker`, and has the path of that file, of which it takes the
engine arguments, and the requests, images as paths. Says `ready`; for each further line, two numbers, it answers the
requests from one to the other and says how many tokens that were.
"""

import importlib.util
import json
import os
import sys
from typing import Any

from PIL import Image


def main() -> None:
    """Load the model, then answer requests."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # libraries print to what they think is the way out
    given = json.loads(sys.stdin.readline())
    worker = _module(given["worker"])
    os.environ |= worker.DEFAULTS | os.environ
    from vllm import LLM, SamplingParams

    model = given["model"]
    llm = LLM(**worker.engine_arguments(model))
    sampling = SamplingParams(temperature=0, max_tokens=model["max_tokens"])
    out.write("ready\n")
    for line in sys.stdin:
        wanted = given["requests"][slice(*map(int, line.split()))]
        asked = [_with_image(request["messages"], request["image"]) for request in wanted]
        answers = llm.chat(asked, sampling, use_tqdm=False, chat_template_kwargs=model["template"])
        out.write(f"{sum(len(answer.outputs[0].token_ids) for answer in answers)}\n")
    os._exit(0)


def _module(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("vllm_worker", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _with_image(messages: list[dict[str, Any]], path: str) -> list[dict[str, Any]]:
    if not path:
        return messages
    with Image.open(path) as image:
        picture = {"type": "image_pil", "image_pil": image.convert("RGB")}
    return [{**message, "content": _filled(message["content"], picture)} for message in messages]


def _filled(content: Any, picture: dict[str, Any]) -> Any:
    return content if isinstance(content, str) else [picture if p["type"] == "image" else p for p in content]


if __name__ == "__main__":
    main()
