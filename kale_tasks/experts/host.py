"""Runs an expert or embedder in a process of its own, which has limits and no credentials.

Images come from strangers, and decoders and models are large. A process that dies or hangs is replaced and its batch is
done again, row by row, so that one bad row costs itself.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kale_tasks.errors import BadConfig, Transient
from kale_tasks.experts.base import VALUES, open_embedder, open_expert, without_orders
from kale_tasks.frames import receive_frame, send_frame
from kale_tasks.process import allowed_environment, start_process, stop_process

CRASHED, TIMED_OUT, BROKEN = "expert_crashed", "expert_timeout", "image_broken"
_INHERITED = ("CUDA_VISIBLE_DEVICES", "HF_HOME", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")
_START_SECONDS = 300.0
_LOST_IN_A_ROW = 5  # then it is not the rows


class HostedRow(NamedTuple):
    """A row as it is sent to the process: its image is encoded, as it is stored."""

    uid: str
    alt_text: str = ""
    image: bytes | None = None


@dataclass
class Answers:
    """What was found for a batch of rows, and why some rows have no answer."""

    values: pa.Table = field(default_factory=VALUES.empty_table)
    vectors: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)  # uid to reason


class Host:
    """An expert or an embedder in a process. `batch` rows are sent at a time; each has `seconds`."""

    def __init__(
        self, kind: str, name: str, options: Mapping[str, Any], *, batch: int = 16, seconds: float = 60.0,
        memory_mb: int = 4096,
    ) -> None:  # fmt: skip
        self.part = open_embedder(name, options) if kind == "embedder" else open_expert(name, options)
        self._arguments = {"kind": kind, "name": name, "options": dict(options), "memory_mb": memory_mb}
        self._batch, self._seconds = batch, seconds
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Host":
        self.part.prepare()
        self._running()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    @property
    def pid(self) -> int | None:
        """The id of the process, if it runs."""
        return self._process.pid if self._process else None

    def ask(self, rows: Sequence[HostedRow]) -> Answers:
        """Return what is found for rows, in their order; a row that cannot be processed is in `failed`."""
        answers, tables, lost = Answers(), [], 0
        for some in _batches(rows, self._batch):
            found = self._send(some)
            alone = [found] if not isinstance(found, str) else [self._send([row]) for row in some]
            for row, one in zip(some, alone, strict=False):
                if isinstance(one, str):
                    answers.failed[row.uid], lost = one, lost + 1
                else:
                    tables.append(self._add(one, answers))
                    lost = 0
            if lost >= max(_LOST_IN_A_ROW, len(some)):
                raise Transient(f"The process of {self._arguments['name']} died for {lost} rows in a row.")
        if tables:
            answers.values = without_orders(pa.concat_tables(tables))
        return answers

    def _add(self, found: tuple[Any, bytes], answers: Answers) -> pa.Table:
        message, data = found
        answers.failed |= dict.fromkeys(message["broken"], BROKEN)
        if uids := message.get("uids"):
            vectors = np.frombuffer(data, np.float32).reshape(len(uids), -1)
            answers.vectors |= dict(zip(uids, vectors, strict=True))
        return pa.Table.from_pylist(message.get("values", []), schema=VALUES)

    def _send(self, rows: Sequence[HostedRow]) -> tuple[Any, bytes] | str:
        """Send rows and return the answer, or why there is none."""
        process = self._running()
        sent = [{"uid": row.uid, "alt": row.alt_text, "bytes": _length(row.image)} for row in rows]
        data = b"".join(row.image or b"" for row in rows)
        answer, timed_out = self._exchange(process, sent, data, self._seconds * len(rows))
        if answer is None:
            self._stop()
            return TIMED_OUT if timed_out else CRASHED
        if error := answer[0].get("error"):
            raise BadConfig(error)
        return answer

    def _exchange(
        self, process: "subprocess.Popen[bytes]", message: Any, data: bytes, seconds: float
    ) -> tuple[tuple[Any, bytes] | None, bool]:
        timed_out = threading.Event()

        def kill() -> None:
            timed_out.set()
            process.kill()

        timer = threading.Timer(seconds, kill)
        timer.start()
        try:
            if message is not None:
                send_frame(cast(BinaryIO, process.stdin), message, data)
            return receive_frame(cast(BinaryIO, process.stdout)), timed_out.is_set()
        except BrokenPipeError:
            return None, timed_out.is_set()
        finally:
            timer.cancel()

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process and self._process.poll() is None:
            return self._process
        self._stop()
        environment = allowed_environment(
            _INHERITED, HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="0"
        )
        self._process = start_process(
            [sys.executable, "-m", "kale_tasks.experts.worker", json.dumps(self._arguments)],
            environment=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        ready, _ = self._exchange(self._process, None, b"", _START_SECONDS)
        if ready is None or ready[0].get("error"):
            self._stop()
            name = self._arguments["name"]
            raise BadConfig(ready[0]["error"] if ready else f"The process of '{name}' ended while it started.")
        return self._process

    def _stop(self) -> None:
        if self._process:
            stop_process(self._process, grace_seconds=0)
            for pipe in (self._process.stdin, self._process.stdout):
                cast(BinaryIO, pipe).close()
            self._process = None


def _batches(rows: Sequence[HostedRow], size: int) -> Iterator[Sequence[HostedRow]]:
    return (rows[at : at + size] for at in range(0, len(rows), size))


def _length(image: bytes | None) -> int:
    return -1 if image is None else len(image)
