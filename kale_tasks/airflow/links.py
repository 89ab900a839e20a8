"""Links from a task to what it made: the key's report and the rows of its table."""

from typing import Any
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink


class ReportLink(BaseOperatorLink):
    """The quality report of the task's key."""

    name = "Report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The address of the page; Airflow asks once the task has ended."""
        return _page("report", operator)


class RowsLink(BaseOperatorLink):
    """The lake as the task's key stands in it: rows, snapshots, what is stale."""

    name = "Lake"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The address of the page; Airflow asks once the task has ended."""
        return _page("keys", operator)


def _page(kind: str, operator: Any) -> str:
    # What speaks of all keys has none, and a mapped task that failed early never got its own.
    key = getattr(operator, "key", None)
    return f"/kale/{kind}/{quote(key)}" if key else "/kale/"
