"""Asks a person to agree to a release; the task waits without holding a worker."""

from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator

from kale_tasks.airflow.operators import CommandOperator


class ApproveOperator(CommandOperator, ApprovalOperator):
    """Shows what `kale release review` says, with a link to the report; a no skips what comes after."""

    template_fields = (*CommandOperator.template_fields, *ApprovalOperator.template_fields)

    def execute(self, context: Any) -> Any:
        """Ask; the answer comes to `execute_complete`."""
        told = self.kale(context, ["release", "review"])
        self.body = f"[Report on this release](/kale/report/{told['report']})\n\n{told['text']}"
        return ApprovalOperator.execute(self, context)
