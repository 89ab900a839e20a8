"""Registers with Airflow: the KALE pages, as an entry in the navigation and a tab on each Dag run, and the listener.

Every Airflow process imports this file, so pages are imported when one is opened.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from kale_tasks.airflow import listener

_App = Callable[[Any, Any, Any], Awaitable[None]]


class Pages:
    """ASGI application that is made at its first request."""

    def __init__(self) -> None:
        self._app: _App | None = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Answer one request."""
        if self._app is None:
            from kale_tasks.ui.airflow_access import AirflowAccess
            from kale_tasks.ui.app import make_app
            from kale_tasks.ui.site import Site

            self._app = make_app(Site(_environment, AirflowAccess()))
        await self._app(scope, receive, send)


def _environment() -> dict[str, str]:
    """What the connection of the tasks adds to the environment: the pages show the lake that the tasks write."""
    from kale_tasks.airflow.dag_parts import schedule
    from kale_tasks.airflow.hook import KaleHook

    return KaleHook(schedule().connection).environment()


class KalePlugin(AirflowPlugin):
    """The pages under /kale, and the ledger's lines about Dag runs."""

    name = "kale"
    listeners = [listener]  # noqa: RUF012 - Airflow's own form
    fastapi_apps = [{"app": Pages(), "url_prefix": "/kale", "name": "KALE"}]  # noqa: RUF012 - Airflow's own form
    external_views = [  # noqa: RUF012
        {"name": "KALE", "href": "/kale/", "destination": "nav", "url_route": "kale", "nav_top_level": True},
        {
            "name": "KALE report",
            "href": "/kale/run/{DAG_ID}/{RUN_ID}",
            "destination": "dag_run",
            "url_route": "kale-report",
        },
    ]
