"""vLLM in a process of its own: when that dies it is started again, and only what was in it is asked again."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from kale_tasks.engines import vllm_worker
from kale_tasks.engines.base import ENGINE_DIED, Answer, Engine, Model, Request
from kale_tasks.errors import BadConfig, Transient
from kale_tasks.settings.caption import Caption

_HOPELESS = 3  # deaths in a row without one answer in between
_FAREWELL = 20  # seconds


class VllmEngine(Engine):
    """Speaks with `vllm_worker` over pipes."""

    def __init__(self, settings: Caption, model: Model) -> None:
        super().__init__(settings, model)
        self._process: subprocess.Popen[bytes] | None = None
        self._batch = settings.batch
        self._out: dict[int, Request] = {}  # sent, not answered
        self._suspects: deque[Request] = deque()  # were in a process that died: asked one at a time
        self._done: list[Answer] = []
        self._barren = 0

    @property
    def pending(self) -> int:
        return len(self._out) + len(self._suspects) + len(self._done)

    def start(self) -> None:
        python = self.settings.vllm_python or sys.executable
        try:
            self._process = subprocess.Popen(
                [python, "-P", str(Path(vllm_worker.__file__))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # it has children of its own, which must go with it
            )
        except OSError as error:
            raise BadConfig(f"caption.vllm_python: {python} cannot be run: {error.strerror}.") from error
        self._heard = SimpleQueue[dict[str, Any] | None]()
        threading.Thread(target=_listen, args=(self._process, self._heard), daemon=True).start()
        self._write(self._described(), b"")
        ready = self._heard.get()
        if ready is None:
            raise BadConfig(f"vLLM did not start with {python}; its own words are above. See caption.vllm_python.")
        self.times.load += ready["load"]
        self.times.warm += ready["warm"]
        self.times.starts += 1

    def submit(self, request: Request) -> None:
        if self._suspects:
            self._suspects.append(request)
        else:
            self._send(request)

    def finished(self) -> list[Answer]:
        if self._done:
            done, self._done = self._done, []
            return done
        if not self._out and self._suspects:
            self._send(self._suspects.popleft())
        if not self._out:
            return []
        answers: list[Answer] = []
        while self._out and not (answers and self._heard.empty()):
            frame = self._heard.get()
            if frame is None:
                self._bury()
                break
            self._barren = 0
            del self._out[frame["id"]]
            answers.append(Answer(**frame))
        return answers

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        with suppress(BrokenPipeError):
            process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_FAREWELL)  # without its input it goes by itself
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _bury(self) -> None:
        # Alone in there, a request is to blame; otherwise each of them is asked again by itself.
        self.stop()
        died, self._out = list(self._out.values()), {}
        self._barren += 1
        if len(died) == 1:
            self._done.append(Answer(died[0].id, reason=ENGINE_DIED, detail="the engine died while it had only this"))
        else:
            self._suspects.extend(died)
        if self._barren >= _HOPELESS and len(died) > 1:
            raise Transient(f"vLLM died {self._barren} times without an answer; its own words are above. Try again.")
        self._batch = max(1, self._batch // 2)  # memory is what kills most
        self.start()

    def _send(self, request: Request) -> None:
        self._out[request.id] = request
        head = {
            "id": request.id,
            "messages": request.messages,
            "temperature": request.temperature,
            "seed": request.seed,
        }
        self._write(head, request.image or b"")

    def _write(self, head: dict[str, Any], data: bytes) -> None:
        assert self._process and self._process.stdin
        with suppress(BrokenPipeError):  # it died: the next answer is none
            self._process.stdin.write(json.dumps({**head, "bytes": len(data)}).encode() + b"\n" + data)
            self._process.stdin.flush()

    def _described(self) -> dict[str, Any]:
        task, settings = self.task, self.settings
        return {
            "folder": str(self.model.folder()),
            "dtype": task.dtype,
            "context": task.context,
            "max_tokens": task.sampling.max_tokens,
            "top_p": task.sampling.top_p,
            "sees": task.image_tokens > 0,
            "batch": self._batch,
            "memory": settings.vllm_memory,
            "preparers": settings.preparers,
            "timeout": settings.timeout_s,
            "warm": {"messages": task.prompt.messages(image=False)},
        }


def _listen(process: subprocess.Popen[bytes], heard: "SimpleQueue[dict[str, Any] | None]") -> None:
    # In a thread, so that neither side ever waits for the other to read; None: there will be no more.
    assert process.stdout
    with process.stdout as lines, suppress(ValueError):
        for line in lines:
            heard.put(json.loads(line))
    heard.put(None)
