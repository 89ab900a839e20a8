"""Runs in vLLM's interpreter: how `vllm_worker` turns messages into prompts, without a model.

Reads one line: the path of `vllm_worker`, the description of the model, and requests with images in base64. Prints a
line of JSON: for each request the token ids of its prompt, and the shape and the mean of its pixel values.
"""

import base64
import importlib.util
import json
import os
import sys
from functools import partial
from types import SimpleNamespace
from typing import Any


def main() -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    given = json.loads(sys.stdin.readline())
    spec = importlib.util.spec_from_file_location("vllm_worker", given["worker"])
    assert spec and spec.loader
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    os.environ |= module.DEFAULTS
    from vllm import EngineArgs
    from vllm.renderers import renderer_from_config

    worker = module.Worker(given["model"], sys.stdout.buffer)
    config = EngineArgs(**module.engine_arguments(given["model"])).create_engine_config()
    worker.engine = SimpleNamespace(renderer=renderer_from_config(config))
    out.write(json.dumps([look(worker, module, request) for request in given["requests"]]) + "\n")
    out.flush()
    os._exit(0)


def look(worker: Any, module: Any, request: dict[str, Any]) -> dict[str, Any]:
    image = base64.b64decode(request["image"])
    prompt = worker.render(request["messages"], partial(module.decode, image) if image else None)
    found = {"ids": list(prompt["prompt_token_ids"]), "shape": [], "mean": 0.0}
    if image:
        (item,) = prompt["mm_kwargs"]["image"]
        pixels = item["pixel_values"].data
        if not pixels.is_floating_point():  # bytes, which vLLM normalises on the device
            pixels = pixels / 255 * 2 - 1
        found |= {"shape": list(pixels.shape), "mean": float(pixels.mean())}
    return found


if __name__ == "__main__":
    main()
