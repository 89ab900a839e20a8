"""Links from a task to what it made: the key's report and the rows of its table."""

from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class ReportLink(BaseOperatorLink):
    """The quality report of the task's key."""

    name = "Report"

    def get_link(self, operator: "BaseOperator", *, ti_key: "TaskInstanceKey") -> str:
        """The address of the page, or nothing when the task never had a key."""
        key = _told(ti_key).get("key")
        return f"/kale/report/{quote(key)}" if key else ""


class RowsLink(BaseOperatorLink):
    """The rows that the task's step committed."""

    name = "Rows"

    def get_link(self, operator: "BaseOperator", *, ti_key: "TaskInstanceKey") -> str:
        """The address of the page, or nothing before the commit."""
        told = _told(ti_key)
        return f"/kale/rows/{quote(told['table'])}?key={quote(told['key'])}" if told.get("table") else ""


def _told(ti_key: "TaskInstanceKey") -> dict[str, str]:
    told = XCom.get_value(ti_key=ti_key, key="return_value")
    return told if isinstance(told, dict) else {}
