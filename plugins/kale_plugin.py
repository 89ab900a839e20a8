"""Registers with Airflow: the KALE pages, as an entry in the navigation and a tab on each Dag run, and the listener."""

from airflow.plugins_manager import AirflowPlugin

from kale_tasks.airflow import listener
from kale_tasks.ui import Pages


def _environment() -> dict[str, str]:
    """What the connection of the tasks adds to the environment: the pages show the lake that the tasks write."""
    from kale_tasks.airflow.dag_parts import schedule
    from kale_tasks.airflow.hook import KaleHook

    return KaleHook(schedule().connection).environment()


class KalePlugin(AirflowPlugin):
    """The pages under /kale, and the ledger's lines about Dag runs."""

    name = "kale"
    listeners = [listener]  # noqa: RUF012 - Airflow's own form
    fastapi_apps = [{"app": Pages(_environment), "url_prefix": "/kale", "name": "KALE"}]  # noqa: RUF012 - Airflow's own form
    external_views = [  # noqa: RUF012
        {"name": "KALE", "href": "/kale/", "destination": "nav", "url_route": "kale", "nav_top_level": True},
        {
            "name": "KALE report",
            "href": "/kale/run/{DAG_ID}/{RUN_ID}",
            "destination": "dag_run",
            "url_route": "kale-report",
        },
    ]
