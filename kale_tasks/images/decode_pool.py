"""The decoding processes as seen from outside: a stuck or dead one costs its image and is replaced."""

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import BinaryIO, cast

from kale_tasks.images.decode_worker import receive, send
from kale_tasks.images.reasons import Lost, Reason
from kale_tasks.settings.images import Decode

_PIPE_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031
_LIFETIME = 20_000  # images; what leaks in a decoder ends with its process

# What a worker answers: mime, width, height, perceptual hash, flags, seconds.
Answer = tuple[str, int, int, int, list[str], dict[str, float]]


class Pool:
    """Some workers, each with one image at a time."""

    def __init__(self, settings: Decode) -> None:
        workers = settings.workers or os.cpu_count() or 1
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._all = [_Worker(settings) for _ in range(workers)]
        for worker in self._all:
            self._idle.put(worker)
        self.threads = ThreadPoolExecutor(workers, "decode")

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self.threads.shutdown(cancel_futures=True)
        for worker in self._all:
            worker.stop()

    def decode(self, raw: bytes, boxes: Sequence[Sequence[float]] = (), keep: bool = False) -> tuple[Answer, bytes]:
        """What a worker makes of the bytes; Lost if nothing. Called in one of `threads`."""
        worker = self._idle.get()
        try:
            return worker.ask(raw, boxes, keep)
        finally:
            self._idle.put(worker)


class _Worker:
    def __init__(self, settings: Decode) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._served = 0

    def ask(self, raw: bytes, boxes: Sequence[Sequence[float]], keep: bool) -> tuple[Answer, bytes]:
        process = self._running()
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self._settings.seconds, end)
        timer.start()
        try:
            send(cast(BinaryIO, process.stdin), {"keep": keep, "boxes": boxes}, raw)
            frame = receive(cast(BinaryIO, process.stdout))
        except BrokenPipeError:
            frame = None
        finally:
            timer.cancel()
        if frame is None:
            self.stop()
            raise Lost(Reason.DECODE_TIMEOUT if late.is_set() else Reason.DECODE_CRASHED)
        told, stored = frame
        if "lost" in told:
            raise Lost(Reason(told["lost"]), told["detail"])
        return told["checked"], stored

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._served >= _LIFETIME:
            self.stop()
        if self._process is None:
            self._served = 0
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kale_tasks.images.decode_worker", self._settings.model_dump_json()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            )
            for pipe in (self._process.stdin, self._process.stdout):
                fcntl.fcntl(cast(BinaryIO, pipe), _F_SETPIPE_SZ, _PIPE_BYTES)
            receive(cast(BinaryIO, self._process.stdout))  # it is there: from now on time counts
        self._served += 1
        return self._process
