"""An engine that needs no model: it keeps its requests, and gives their numbers as answers."""

from typing import ClassVar

from kale_tasks.engines.base import Answer, Engine, Request


class RecordingEngine(Engine):
    """Keeps its requests."""

    asked: ClassVar[list[Request]] = []
    reasons: ClassVar[dict[int, str]] = {}

    @property
    def pending(self):
        return len(self._waiting)

    def start(self):
        self._waiting = []

    def submit(self, request):
        self.asked.append(request)
        self._waiting.append(request.id)

    def finished(self):
        done, self._waiting = self._waiting, []
        return [
            Answer(n, reason=reason) if (reason := self.reasons.get(n)) else Answer(n, f"A caption of image {n}.", 1, 1)
            for n in done
        ]

    def stop(self):
        self._waiting = []
