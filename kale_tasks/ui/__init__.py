"""The pages of KALE in Airflow. Every Airflow process imports this file, so pages are imported when one is opened."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Pages:
    """ASGI application that is made at its first request.

    `environment` returns the variables that name the lake, in addition to those of the process.
    """

    def __init__(self, environment: Callable[[], Mapping[str, str]]) -> None:
        self._environment = environment
        self._app: Callable[[Scope, Receive, Send], Awaitable[None]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._app is None:
            from kale_tasks.ui.airflow_access import AirflowAccess
            from kale_tasks.ui.app import make_app
            from kale_tasks.ui.site import Site

            self._app = make_app(Site(self._environment, AirflowAccess()))
        await self._app(scope, receive, send)
