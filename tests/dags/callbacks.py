"""What an operator of Airflow may configure to be called."""

from typing import Any


def failed(context: Any) -> None:
    """Called with the context of a failed task."""


async def late(**facts: Any) -> None:
    """Called when a run is late."""
