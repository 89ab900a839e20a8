"""The settings that Dags read while they are parsed, loaded once a process."""

from functools import cache

from kale_tasks.settings import load
from kale_tasks.settings.schedule import Schedule


@cache
def schedule() -> Schedule:
    """How Airflow runs the chain."""
    return load().settings.schedule
