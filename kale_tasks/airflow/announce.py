"""Announcements: look at the lake and, if it holds what another Dag waits for, emit the asset that wakes that Dag.

Each side writes its own fact first and looks then, so whichever comes last sees both; one announcement too many does
no harm, because a committed key is not made again.
"""

from typing import Any

from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowSkipException

from kale_tasks.airflow.operators import KEY, CommandOperator


class AnnounceOperator(CommandOperator):
    """Emits its outlet for the keys that `kale pending` lists under `what`; skipped if there are none."""

    def __init__(self, *, what: str, outlet: Asset, key: str | None = KEY, **kwargs: Any) -> None:
        super().__init__(key=key, outlets=[outlet], **kwargs)
        self.what, self.outlet = what, outlet

    def execute(self, context: Any) -> list[str]:
        """Look and emit."""
        found: list[str] = self.kale(context, ["pending"])[self.what]
        keys = [key for key in found if self.key in (None, key)]
        if not keys:
            raise AirflowSkipException(f"Nothing of {self.key or 'the lake'} waits for {self.what}.")
        context["outlet_events"][self.outlet].add_partitions(keys)
        return keys

    def _key(self) -> list[str]:
        return []  # `kale pending` lists all keys
