"""vLLM in a child process. If that process dies, it is started again and the unanswered requests are asked again."""

import json
import os
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from kale_tasks.engines import vllm_worker
from kale_tasks.engines.base import ENGINE_DIED, Answer, Engine, Model, Request
from kale_tasks.errors import BadConfig, Transient
from kale_tasks.process import allowed_environment, start_process, stop_process
from kale_tasks.settings.caption import Caption

_START_SECONDS = 1800  # loading and compiling a large model from a slow disk
_EXIT_SECONDS = 20
_HOPELESS = 3  # requests in a row that killed the process, with no answer in between
_QUIET = 20  # batches without a death, after which the next one is not taken for a lack of memory
# The process decodes images of strangers: it inherits variables of these names, and no credentials.
_VARIABLES = (
    "CC", "CUDA_", "CUDNN_", "CXX", "DO_NOT_TRACK", "GLOO_", "HF_HOME", "HF_HUB_", "HIP_", "LD_", "LOGNAME", "MKL_",
    "NCCL_", "NVIDIA_", "OMP_", "PYTHON", "PYTORCH_", "ROCM_", "ROCR_", "TOKENIZERS_", "TORCH", "TRITON_", "USER",
    "VIRTUAL_ENV", "VLLM_", "XDG_",
)  # fmt: skip


class VllmEngine(Engine):
    """Sends requests to `vllm_worker` through pipes.

    When the process dies, the requests in it become suspects. They are asked again, at first together, then in halves,
    until the request that kills the process is alone in it. New requests wait until no suspect is left.
    """

    def __init__(self, settings: Caption, model: Model) -> None:
        super().__init__(settings, model)
        self._process: subprocess.Popen[bytes] | None = None
        self._batch = settings.batch
        self._sent: dict[int, Request] = {}
        self._waiting: deque[Request] = deque()
        self._suspects: deque[list[Request]] = deque()
        self._isolated = False  # the requests in the process are one group of suspects
        self._blamed: list[Answer] = []  # returned once the engine has shown that it can answer others
        self._done: list[Answer] = []
        self._answers_since_death: int | None = None

    @property
    def pending(self) -> int:
        suspects = sum(map(len, self._suspects))
        return len(self._sent) + len(self._waiting) + suspects + len(self._blamed) + len(self._done)

    def start(self) -> None:
        self._batch, self._answers_since_death = self.settings.batch, None
        self._start_worker()

    def submit(self, request: Request) -> None:
        self._waiting.append(request)
        self._send_next()

    def finished(self) -> list[Answer]:
        self._send_next()
        if not self._done and not self._sent:
            self._done, self._blamed = self._blamed, []
        while self._sent and not (self._done and self._frames.empty()):
            frame = self._frames.get()
            if frame is None:
                self._recover()
                break
            self._take(frame)
        done, self._done = self._done, []
        return done

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        with suppress(BrokenPipeError):
            process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_EXIT_SECONDS)  # it exits when its input ends
        stop_process(process, grace_seconds=1)

    def _take(self, frame: dict[str, Any]) -> None:
        del self._sent[frame["id"]]
        self._done += [*self._blamed, Answer(**frame)]
        self._blamed = []
        if self._answers_since_death is not None:
            self._answers_since_death += 1

    def _send_next(self) -> None:
        if self._isolated and self._sent:
            return
        self._isolated = bool(self._suspects)
        for request in self._suspects.popleft() if self._suspects else self._drain_waiting():
            self._send(request)

    def _drain_waiting(self) -> list[Request]:
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting

    def _recover(self) -> None:
        """Restart the process after its death. The requests in it become suspects, or a lone suspect is blamed."""
        self.stop()
        died, self._sent = list(self._sent.values()), {}
        if not self._isolated:
            self._suspects.append(died)
            self._reduce_batch()
        elif len(died) > 1:
            self._suspects.extendleft([died[len(died) // 2 :], died[: len(died) // 2]])
        else:
            self._blamed.append(Answer(died[0].id, reason=ENGINE_DIED, detail="vLLM died while it had only this"))
        if len(self._blamed) >= _HOPELESS:
            raise Transient(
                f"vLLM died of {_HOPELESS} single requests in a row, so they are hardly to blame. See its output above "
                f"for the cause. Finished parts are kept; try again."
            )
        self._isolated = False
        self._start_worker()

    def _reduce_batch(self) -> None:
        # One death can have any cause; a second one soon after it is most likely a lack of memory.
        if self._answers_since_death is not None and self._answers_since_death < _QUIET * self._batch:
            self._batch = max(1, self._batch // 2)
        self._answers_since_death = 0

    def _start_worker(self) -> None:
        python = self.settings.vllm_python or sys.executable
        variables = [name for name in os.environ if name.startswith(_VARIABLES)]
        description = self._describe()
        try:
            self._process = start_process(
                [python, "-P", str(Path(vllm_worker.__file__))],
                environment=allowed_environment(variables),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        except OSError as error:
            raise BadConfig(f"caption.vllm_python: {python} cannot be run: {error.strerror}.") from error
        self._frames = SimpleQueue[dict[str, Any] | None]()
        threading.Thread(target=_read_frames, args=(self._process, self._frames), daemon=True).start()
        self._write(description, b"")
        ready = self._wait_until_ready(python)
        self.times.load += ready["load"]
        self.times.warm += ready["warm"]
        self.times.starts += 1

    def _wait_until_ready(self, python: str) -> dict[str, Any]:
        try:
            frame = self._frames.get(timeout=_START_SECONDS)
        except Empty:
            self.stop()
            raise Transient(f"vLLM did not load {self.model.name} within {_START_SECONDS} s. Try again.") from None
        if frame is None:
            self.stop()
            raise Transient(f"vLLM ended while it loaded {self.model.name}. See its output above, then try again.")
        if missing := frame.get("missing"):
            self.stop()
            raise BadConfig(f"{python} cannot import vLLM: {missing}. Set caption.vllm_python to one that can.")
        return frame

    def _send(self, request: Request) -> None:
        self._sent[request.id] = request
        head = {
            "id": request.id,
            "messages": request.messages,
            "temperature": request.temperature,
            "seed": request.seed,
        }
        self._write(head, request.image or b"")

    def _write(self, head: dict[str, Any], data: bytes) -> None:
        assert self._process and self._process.stdin
        with suppress(BrokenPipeError):  # it died; the reader of its answers will see that
            self._process.stdin.write(json.dumps({**head, "bytes": len(data)}).encode() + b"\n" + data)
            self._process.stdin.flush()

    def _describe(self) -> dict[str, Any]:
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
            "warm": {"messages": task.prompt.messages({}, image=False)},
        }


def _read_frames(process: subprocess.Popen[bytes], frames: "SimpleQueue[dict[str, Any] | None]") -> None:
    # Runs in a thread, so that neither side ever blocks because the other does not read. None marks the end.
    assert process.stdout
    with process.stdout as lines, suppress(ValueError):
        for line in lines:
            frames.put(json.loads(line))
    frames.put(None)
