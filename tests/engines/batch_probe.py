"""Runs in vLLM's interpreter: what `vllm_worker` answers as on a GPU, and as on CPUs.

Reads one line: the path of `vllm_worker`, the description of the model, and requests. Prints a line of JSON: both
answers, and how many requests were in the engine at each of its steps on CPUs.
"""

import importlib.util
import io
import json
import os
import sys
import threading
from typing import Any


class Answers(io.BytesIO):
    """Notes when there are as many as requests."""

    def __init__(self, wanted: int) -> None:
        super().__init__()
        self._missing, self.complete = wanted, threading.Event()

    def write(self, data: Any) -> int:
        self._missing -= 1
        if not self._missing:
            self.complete.set()
        return super().write(data)


class Requests(io.BytesIO):
    """Ends when all are answered, as the input of a worker does."""

    def __init__(self, data: bytes, answered: threading.Event) -> None:
        super().__init__(data)
        self._answered = answered

    def readline(self, size: int | None = -1) -> bytes:
        line = super().readline(size)
        if not line:
            self._answered.wait()
        return line


def main() -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    given = json.loads(sys.stdin.readline())
    spec = importlib.util.spec_from_file_location("vllm_worker", given["worker"])
    assert spec and spec.loader
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    os.environ |= module.DEFAULTS
    worker = module.Worker(given["model"], io.BytesIO())
    worker.start()
    inside, step = list[int](), worker.step

    def counted() -> None:
        inside.append(len(worker.inside))
        step()

    worker.step = counted
    frames = [framed(one, one.pop("image").encode()) for one in given["requests"]]
    worker.out, on_gpu = Answers(len(frames)), module.on_gpu
    module.on_gpu = lambda: True
    source = Requests(b"".join(frames), worker.out.complete)
    threading.Thread(target=worker.read, args=(source,), daemon=True).start()
    worker.serve()
    ahead = read(worker.out)
    module.on_gpu, worker.out = on_gpu, io.BytesIO()
    inside.clear()
    worker.read(io.BytesIO(b"".join(frames)))
    worker.serve()  # until no request waits
    out.write(json.dumps({"ahead": ahead, "in_turns": read(worker.out), "inside": inside}) + "\n")
    out.flush()
    os._exit(0)


def read(answers: io.BytesIO) -> dict[int, Any]:
    said = [json.loads(line) for line in answers.getvalue().splitlines()]
    return {one["id"]: one.get("text") or one["reason"] for one in said}


def framed(request: dict[str, Any], image: bytes) -> bytes:
    return json.dumps({**request, "bytes": len(image)}).encode() + b"\n" + image


if __name__ == "__main__":
    main()
