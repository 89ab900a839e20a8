"""Pool of decode processes: one that hangs or dies loses a single image and is replaced."""

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import BinaryIO, cast

from kale_tasks.frames import receive_frame, send_frame
from kale_tasks.images.decode import ImageInfo
from kale_tasks.images.decode_limits import limits
from kale_tasks.images.reasons import ImageError, Reason
from kale_tasks.settings.images import Decode

_PIPE_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031
_ENVIRONMENT = (
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "PATH",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONPYCACHEPREFIX",
    "TMPDIR",
)  # variables that a decode process gets; all others may hold secrets
_WATCH_SECONDS = 0.1
_MAX_IMAGES = 20_000  # then a process is replaced, so that leaks in decoders stay bounded


class DecodePool:
    """Decode processes, each with one image at a time. Call `decode` from one of `threads`."""

    def __init__(self, settings: Decode) -> None:
        if settings.faces == "detect":
            from kale_tasks.experts.faces import require_detector

            require_detector()
        workers = settings.workers or (os.cpu_count() or 1) + 1  # one waits for its next image while the others decode
        self._idle: SimpleQueue[_DecodeProcess] = SimpleQueue()
        self._all = [_DecodeProcess(settings) for _ in range(workers)]
        for worker in self._all:
            self._idle.put(worker)
        self.threads = ThreadPoolExecutor(workers, "decode")
        self._ended = threading.Event()
        threading.Thread(target=self._watch, name="decode-watch", daemon=True).start()

    def __enter__(self) -> "DecodePool":
        return self

    def __exit__(self, *_: object) -> None:
        self.threads.shutdown(cancel_futures=True)
        self._ended.set()
        for worker in self._all:
            worker.stop()

    def decode(self, raw: bytes, boxes: Sequence[Sequence[float]] = (), keep: bool = False) -> tuple[ImageInfo, bytes]:
        """Decode an image and return what is known of it and the JPEG to store (empty with `keep`).

        Raises ImageError if it cannot be decoded within the limits.
        """
        worker = self._idle.get()
        try:
            try:
                return worker.decode(raw, boxes, keep)
            except ImageError as error:
                if error.reason != Reason.DECODE_CRASHED:
                    raise
                # The image is blamed if it does that twice: the system may have killed the process to free memory.
                return worker.decode(raw, boxes, keep)
        finally:
            self._idle.put(worker)

    def _watch(self) -> None:
        while not self._ended.wait(_WATCH_SECONDS):
            for worker in self._all:
                worker.kill_if_late()


class _DecodeProcess:
    def __init__(self, settings: Decode) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._images = 0
        self._deadline, self._late, self._lock = float("inf"), False, threading.Lock()

    def decode(self, raw: bytes, boxes: Sequence[Sequence[float]], keep: bool) -> tuple[ImageInfo, bytes]:
        process = self._running()
        self._late, self._deadline = False, time.monotonic() + self._settings.seconds
        try:
            send_frame(cast(BinaryIO, process.stdin), {"keep": keep, "boxes": boxes}, raw)
            frame = receive_frame(cast(BinaryIO, process.stdout))
        except BrokenPipeError:
            frame = None
        finally:
            with self._lock:
                self._deadline = float("inf")
        if frame is None:
            self.stop()
            raise ImageError(Reason.DECODE_TIMEOUT if self._late else Reason.DECODE_CRASHED, limits(self._settings))
        result, stored = frame
        if "reason" in result:
            raise ImageError(Reason(result["reason"]), result["detail"])
        return ImageInfo(*result["info"]), stored

    def kill_if_late(self) -> None:
        with self._lock:
            if self._process and time.monotonic() > self._deadline:
                self._late, self._deadline = True, float("inf")
                self._process.kill()

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._images >= _MAX_IMAGES:
            self.stop()
        if self._process is None:
            self._images = 0
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kale_tasks.images.decode_worker", self._settings.model_dump_json()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=_environment(),
            )
            for pipe in (self._process.stdin, self._process.stdout):
                fcntl.fcntl(cast(BinaryIO, pipe), _F_SETPIPE_SZ, _PIPE_BYTES)
            receive_frame(cast(BinaryIO, self._process.stdout))  # started: the time limit excludes start-up
        self._images += 1
        return self._process


def _environment() -> dict[str, str]:
    inherited = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    return inherited | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
