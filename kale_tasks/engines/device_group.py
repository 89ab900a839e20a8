"""The requests of one vLLM process, and which of them are to blame when it dies."""

import time
from collections import deque
from collections.abc import Callable

from kale_tasks.engines.base import Request
from kale_tasks.engines.vllm_process import Frame, VllmProcess

_HOPELESS = 3  # requests in a row that killed the process, with no answer in between
_QUIET = 20  # batches without a death, after which the next one is not taken for a lack of memory
_STARTS = 3  # failed starts in a row after which the devices are given up
_PAUSE_SECONDS = 15.0  # before a failed start is tried again: another process may still hold the memory

StartProcess = Callable[[str, int | None], VllmProcess]


class DeviceGroup:
    """One vLLM process on its devices.

    When the process dies, only the requests in it become suspects. They are asked again, at first together, then in
    halves, until the request that kills the process is alone in it.
    """

    def __init__(self, devices: str, start: StartProcess) -> None:
        self.devices, self._start = devices, start
        self.sent: dict[int, Request] = {}
        self.blamed: list[Request] = []  # its next answer shows that it can answer others
        self.ready = False
        self.gone = False  # given up: its requests are for others
        self.process: VllmProcess | None = None
        self.started = self.heard = time.monotonic()
        self._suspects: deque[list[Request]] = deque()
        self._isolated = False  # the requests in the process are one list of suspects
        self._failed_starts = 0
        self._sequences: int | None = None  # that the process generates at once; none: as many as vLLM thinks best
        self._answers_since_death: int | None = None

    @property
    def unanswered(self) -> int:
        """The number of requests in it without an answer."""
        return len(self.sent) + sum(map(len, self._suspects))

    @property
    def takes_requests(self) -> bool:
        """Whether it may get new requests: not while it is looking for the one that killed its process."""
        return self.ready and not self._suspects and not self._isolated

    @property
    def restarts_at(self) -> float | None:
        """When to try its start again; None if it has a process or is given up."""
        return None if self.process or self.gone else self.started + _PAUSE_SECONDS

    def start(self) -> None:
        """Start a process. It is ready when it says so."""
        self.started = self.heard = time.monotonic()
        self.process = self._start(self.devices, self._sequences)

    def end_input(self) -> None:
        """Let the process end by itself."""
        if self.process:
            self.process.end_input()

    def stop(self) -> None:
        """Stop the process."""
        process, self.process, self.ready = self.process, None, False
        if process:
            process.stop()

    def send(self, request: Request) -> None:
        """Ask a request."""
        assert self.process
        self.heard = self.heard if self.sent else time.monotonic()
        self.sent[request.id] = request
        self.process.send(request)

    def send_suspects(self) -> None:
        """Ask the next suspects, if there are any and the process has nothing to do."""
        if not self.ready or self.sent:
            return
        self._isolated = bool(self._suspects)
        for request in self._suspects.popleft() if self._suspects else ():
            self.send(request)

    def became_ready(self, frame: Frame) -> None:
        """Note that the process has loaded the model."""
        self.ready, self._failed_starts = True, 0
        self.heard = time.monotonic()
        self._sequences = self._sequences or frame.get("sequences")

    def answered(self, id: int) -> list[Request]:
        """Note an answer, and return the requests that are now known to be to blame for a death."""
        del self.sent[id]
        self.heard = time.monotonic()
        if self._answers_since_death is not None:
            self._answers_since_death += 1
        blamed, self.blamed = self.blamed, []
        return blamed

    def recover(self) -> None:
        """Go on after the end of the process: suspect the requests in it and start another one, or give up."""
        was_ready = self.ready
        self.stop()
        if not was_ready:
            self._failed_starts += 1
            self.gone = self._failed_starts >= _STARTS
            return
        self._suspect()
        if len(self.blamed) >= _HOPELESS:  # single requests are hardly to blame: it must be the devices
            self.gone = True
        else:
            self.start()

    def hand_over(self) -> list[Request]:
        """Return all requests in it, for others to answer."""
        requests = [*self.sent.values(), *(one for suspects in self._suspects for one in suspects), *self.blamed]
        self.sent, self.blamed = {}, []
        self._suspects.clear()
        return requests

    def _suspect(self) -> None:
        died, self.sent = list(self.sent.values()), {}
        if not self._isolated:
            self._suspects.extend([died] if died else [])
            self._reduce_sequences()
        elif len(died) > 1:
            self._suspects.extendleft([died[len(died) // 2 :], died[: len(died) // 2]])
        else:
            self.blamed += died
        self._isolated = False

    def _reduce_sequences(self) -> None:
        # One death can have any cause; a second one soon after it is most likely a lack of memory.
        since = self._answers_since_death
        if self._sequences and since is not None and since < _QUIET * self._sequences:
            self._sequences = max(1, self._sequences // 2)
        self._answers_since_death = 0
