"""Bare vLLM on the requests of bench/caption_engines.py, which it answers for each line it gets; runs in .venv-vllm."""

import base64
import io
import json
import os
import sys
from typing import Any

from PIL import Image


def main() -> None:
    """Loads the model that the first line describes; then says how many tokens each round made."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # libraries print to what they think is the way out
    from vllm import LLM, SamplingParams

    given = json.loads(sys.stdin.readline())
    llm = LLM(**given["engine"])
    sampling = SamplingParams(temperature=0, max_tokens=given["max_tokens"])
    out.write("ready\n")
    for _ in sys.stdin:
        asked = [_with_image(request["messages"], base64.b64decode(request["image"])) for request in given["requests"]]
        answers = llm.chat(asked, sampling, use_tqdm=False)
        out.write(f"{sum(len(answer.outputs[0].token_ids) for answer in answers)}\n")


def _with_image(messages: list[dict[str, Any]], data: bytes) -> list[dict[str, Any]]:
    picture = {"type": "image_pil", "image_pil": Image.open(io.BytesIO(data)).convert("RGB")}
    return [{**message, "content": _filled(message["content"], picture)} for message in messages]


def _filled(content: Any, picture: dict[str, Any]) -> Any:
    return content if isinstance(content, str) else [picture if p["type"] == "image" else p for p in content]


if __name__ == "__main__":
    main()
