"""Who is answered when many ask at once: first come, first served, and nobody waits for the long searches of others.

A page asks several questions of the lake. A turn is for all of them, so that those who came early do not queue again
and again behind those who came late.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from anyio import CapacityLimiter
from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from kale_tasks.ui import captions

# How many requests work at once, by what they ask for.
_PAGES, _IMAGES, _SEARCHES, _DOWNLOADS = 4, 2, 4, 1


def in_turn() -> type[APIRoute]:
    """Make a kind of route whose requests share these turns. What a person does and sends has no need of one."""
    pages, searches = CapacityLimiter(_PAGES), CapacityLimiter(_SEARCHES)
    others = {"images": CapacityLimiter(_IMAGES), "failing": CapacityLimiter(_DOWNLOADS)}  # by the first part of a path

    class InTurn(APIRoute):
        """A route that answers in turn."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            """The handler of the route; the answer is sent after its turn, however slow the reader's line is."""
            handle = super().get_route_handler()

            async def answer(request: Request) -> Response:
                if request.method != "GET":
                    return await handle(request)
                async with self._turn(request):
                    return await handle(request)

            return answer

        def _turn(self, request: Request) -> CapacityLimiter:
            if captions.is_search(self.path, request.query_params):
                return searches
            return others.get(self.path.split("/")[1], pages)

    return InTurn
