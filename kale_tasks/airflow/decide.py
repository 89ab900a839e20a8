"""Decisions that a Dag takes before it starts anything heavy."""

from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from kale_tasks.airflow.operators import AGAIN, CommandOperator


class OnlyIfDueOperator(CommandOperator):
    """Skips the rest of the Dag unless `kale pending` lists something under `what`, or the run was forced."""

    template_fields = (*CommandOperator.template_fields, "again")

    def __init__(self, *, what: str, again: str = AGAIN, **kwargs: Any) -> None:
        super().__init__(key=None, **kwargs)
        self.what, self.again = what, again

    def execute(self, context: Any) -> Any:
        """Look."""
        found = self.kale(context, ["pending"])[self.what]
        due = found["ready"] if isinstance(found, dict) else bool(found)
        if not due and not self.again:
            raise AirflowSkipException(f"Nothing to do for {self.what}: {found}.")
        return found
