"""A process that runs `vllm_worker`, and the pipes to it."""

import json
import os
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from kale_tasks.engines import vllm_worker
from kale_tasks.engines.base import Request
from kale_tasks.errors import BadConfig
from kale_tasks.process import allowed_environment, start_process, stop_process

_EXIT_SECONDS = 20
# The process decodes images of strangers: it inherits variables of these names, and no credentials.
_VARIABLES = (
    "CC", "CUDA_", "CUDNN_", "CXX", "DO_NOT_TRACK", "GLOO_", "HF_HOME", "HF_HUB_", "HIP_", "LD_", "LOGNAME", "MKL_",
    "NCCL_", "NVIDIA_", "OMP_", "PYTHON", "PYTORCH_", "ROCM_", "ROCR_", "TOKENIZERS_", "TORCH", "TRITON_", "USER",
    "VIRTUAL_ENV", "VLLM_", "XDG_",
)  # fmt: skip

Frame = dict[str, Any]
Frames = SimpleQueue[tuple["VllmProcess", Frame | None]]


class VllmProcess:
    """Loads a model as soon as it is made. What it says goes into a queue that several processes can share."""

    def __init__(self, python: str, model: Mapping[str, Any], variables: Mapping[str, str], frames: Frames) -> None:
        """Start it; BadConfig if the interpreter cannot be run."""
        try:
            self._process = start_process(
                [python, "-P", str(Path(vllm_worker.__file__))],
                environment={**vllm_environment(), **variables},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        except OSError as error:
            raise BadConfig(f"caption.vllm_python: {python} cannot be run: {error.strerror}.") from error
        self.pid = self._process.pid
        threading.Thread(target=self._read, args=(frames,), daemon=True).start()
        self._write(model, b"")

    def send(self, request: Request) -> None:
        """Hand over a request. Has no effect on a process that died: the reader of its answers will see that."""
        head = {
            "id": request.id,
            "messages": request.messages,
            "temperature": request.temperature,
            "seed": request.seed,
        }
        self._write(head, request.image or b"")

    def end_input(self) -> None:
        """Tell it that no request follows; it then ends."""
        with suppress(BrokenPipeError):
            if self._process.stdin:
                self._process.stdin.close()

    def stop(self) -> None:
        """Let it end, and kill what is left of it."""
        self.end_input()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_EXIT_SECONDS)
        self.kill()

    def kill(self) -> None:
        """Kill it and everything that it started."""
        stop_process(self._process, grace_seconds=1)

    def _write(self, head: Mapping[str, Any], data: bytes) -> None:
        assert self._process.stdin
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({**head, "bytes": len(data)}).encode() + b"\n" + data)
            self._process.stdin.flush()

    def _read(self, frames: Frames) -> None:
        # Runs in a thread, so that neither side ever blocks because the other does not read. None marks the end.
        assert self._process.stdout
        with self._process.stdout as lines, suppress(ValueError):
            for line in lines:
                frames.put((self, json.loads(line)))
        frames.put((self, None))


def vllm_environment() -> dict[str, str]:
    """Return the variables that a process with vLLM inherits: none of them is a secret."""
    return allowed_environment(name for name in os.environ if name.startswith(_VARIABLES))
