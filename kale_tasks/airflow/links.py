"""Links from a task to the pages of its key."""

from typing import Any
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink


class ReportLink(BaseOperatorLink):
    """Link to the report on the key of the task."""

    name = "Report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address of the page. Airflow calls this after the task has ended."""
        return _page("report", operator)


class LineageLink(BaseOperatorLink):
    """Link to the lineage of the key: committed runs and what they were made from."""

    name = "Lineage"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address of the page. Airflow calls this after the task has ended."""
        return _page("keys", operator)


def _page(kind: str, operator: Any) -> str:
    # A task on all keys has no key, and a mapped task that failed early has no rendered one: link to the list.
    key = getattr(operator, "key", None)
    return f"/kale/{kind}/{quote(key, safe='')}" if key else "/kale/"
