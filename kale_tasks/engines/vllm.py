"""vLLM in child processes, one for each group of devices. A process that dies is started again, and it alone."""

import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping
from queue import Empty
from typing import Any

from kale_tasks.engines.base import ENGINE_DIED, Answer, Engine, Model, Request
from kale_tasks.engines.device_group import DeviceGroup
from kale_tasks.engines.devices import device_environment, device_groups, group_size
from kale_tasks.engines.thought import OPENING_MARKS, template_arguments
from kale_tasks.engines.vllm_process import Frame, Frames, VllmProcess
from kale_tasks.errors import BadConfig, Transient
from kale_tasks.recipes.parts import Task
from kale_tasks.settings.caption import Caption

_START_SECONDS = 1800  # loading and compiling a large model from a slow disk
_SILENT_SECONDS = 60.0  # beyond the time limit of requests, after which a process counts as hung


class VllmEngine(Engine):
    """Sends requests to a vLLM process on each group of devices, and keeps all of them busy."""

    def __init__(self, settings: Caption, model: Model) -> None:
        super().__init__(settings, model)
        arguments = {**settings.vllm, **self.task.vllm}
        names = device_groups(settings.devices, arguments)
        self.devices = len(names) * group_size(arguments)
        self.room = settings.in_flight * len(names)
        self._groups = [DeviceGroup(name, self._start_process) for name in names]
        self._waiting: deque[Request] = deque()
        self._done: list[Answer] = []

    @property
    def pending(self) -> int:
        inside = sum(group.unanswered + len(group.blamed) for group in self._groups)
        return len(self._waiting) + inside + len(self._done)

    def start(self) -> None:
        started = time.monotonic()
        self._folder = str(self.model.folder())
        self._frames: Frames = Frames()
        self._groups = [DeviceGroup(group.devices, self._start_process) for group in self._groups]
        for group in self._groups:
            group.start()
        warm: list[float] = []
        while any(group.process and not group.ready for group in self._groups):
            warm += self._listen()
        if not any(group.ready for group in self._groups):
            self.stop()
            raise Transient(f"vLLM ended while it loaded {self.model.name}. See its output above, then try again.")
        self.times.warm += max(warm)
        self.times.load += time.monotonic() - started - max(warm)

    def submit(self, request: Request) -> None:
        self._waiting.append(request)
        self._send_waiting()

    def finished(self) -> list[Answer]:
        self._send_waiting()
        while not (self._done and self._frames.empty()):
            if not self._waiting and not any(group.unanswered for group in self._groups):
                self._done += (blamed(request) for group in self._groups for request in group.hand_over())
                break
            self._listen()
            self._send_waiting()
        done, self._done = self._done, []
        return done

    def stop(self) -> None:
        for group in self._groups:
            group.end_input()
        for group in self._groups:
            group.stop()

    def _send_waiting(self) -> None:
        for group in self._groups:
            group.send_suspects()
        takers = [group for group in self._groups if group.takes_requests]
        while takers and self._waiting:
            group = min(takers, key=lambda one: len(one.sent))
            if len(group.sent) >= self.settings.in_flight:
                break
            group.send(self._waiting.popleft())

    def _listen(self) -> Iterable[float]:
        """Wait for what a process says, or for the time to start one again. Returns the seconds of a warm-up."""
        self._start_again()
        try:
            process, frame = self._frames.get(timeout=1.0)
        except Empty:
            self._end_hung()
            return []
        group = next((one for one in self._groups if one.process is process), None)
        if group is None:  # said by one that was stopped
            return []
        if frame is None:
            self._recover(group)
        elif "id" in frame:
            self._done += map(blamed, group.answered(frame["id"]))
            self._done.append(Answer(**frame))
        else:
            return [self._ready(group, frame)]
        return []

    def _ready(self, group: DeviceGroup, frame: Frame) -> float:
        python = self.settings.vllm_python or sys.executable
        if missing := frame.get("missing"):
            self.stop()
            raise BadConfig(f"{python} cannot import vLLM: {missing}. Set caption.vllm_python to one that can.")
        if wrong := frame.get("wrong"):
            self.stop()
            raise BadConfig(f"vLLM does not accept the arguments in caption.vllm or in the recipe's `vllm`: {wrong}.")
        group.became_ready(frame)
        self.times.starts += 1
        return float(frame["warm"])

    def _recover(self, group: DeviceGroup) -> None:
        group.recover()
        if not group.gone:
            return
        if all(one.gone for one in self._groups):
            self.stop()
            raise Transient(
                f"vLLM died again and again, also with a single request in it, so that no request is to blame. See its "
                f"output above for the cause ({self.model.name}). Finished parts are kept; try again."
            )
        self._waiting.extendleft(reversed(group.hand_over()))

    def _start_again(self) -> None:
        now = time.monotonic()
        for group in self._groups:
            if group.restarts_at is not None and now >= group.restarts_at:
                group.start()

    def _end_hung(self) -> None:
        now = time.monotonic()
        for group in self._groups:
            loads = group.process and not group.ready and now - group.started > _START_SECONDS
            hangs = group.sent and now - group.heard > self.settings.timeout_s + _SILENT_SECONDS
            if group.process and (loads or hangs):
                group.process.kill()  # its end is then read like any other

    def _start_process(self, devices: str, sequences: int | None) -> VllmProcess:
        python = self.settings.vllm_python or sys.executable
        more = {"max_num_seqs": sequences} if sequences else {}
        described = describe_model(self.settings, self.task, self._folder, more)
        return VllmProcess(python, described, device_environment(devices), self._frames)


def describe_model(settings: Caption, task: Task, folder: str, more: Mapping[str, Any] | None = None) -> Frame:
    """Describe a model to `vllm_worker`, with more engine arguments than the settings and the recipe have."""
    return {
        "folder": folder,
        "dtype": task.dtype,
        "context": task.context,
        "max_tokens": task.sampling.max_tokens,
        "top_p": task.sampling.top_p,
        "confidence": task.confidence,
        "sees": task.image_tokens > 0,
        "arguments": {**settings.vllm, **task.vllm, **(more or {})},
        "template": template_arguments(task),
        "thought_marks": OPENING_MARKS,
        "preparers": settings.preparers,
        "timeout": settings.timeout_s,
        "warm": {"messages": task.prompt.messages({}, image=False)},
    }


def blamed(request: Request) -> Answer:
    """Make the answer to a request that killed the process while it was alone in it."""
    return Answer(request.id, reason=ENGINE_DIED, detail="vLLM died while it had only this")
