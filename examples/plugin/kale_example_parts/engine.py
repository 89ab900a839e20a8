"""An engine that needs no model: it reports the size of each image. Useful to try a chain before there is a GPU."""

import io

from PIL import Image

from kale_tasks.engines.base import Answer, Engine, Request


class SizeEngine(Engine):
    """Answers every request with the size of its image."""

    def start(self) -> None:
        """Load nothing."""
        self._requests: list[Request] = []

    @property
    def pending(self) -> int:
        """Number of submitted requests without an answer."""
        return len(self._requests)

    def submit(self, request: Request) -> None:
        """Queue a request."""
        self._requests.append(request)

    def finished(self) -> list[Answer]:
        """Answer all queued requests."""
        answers = [Answer(one.id, self._describe(one), finish="stop") for one in self._requests]
        self._requests = []
        return answers

    def stop(self) -> None:
        """Release nothing."""

    def _describe(self, request: Request) -> str:
        if request.image is None:
            return "There is no image."
        width, height = Image.open(io.BytesIO(request.image)).size
        return f"An image of {width} by {height} pixels."
