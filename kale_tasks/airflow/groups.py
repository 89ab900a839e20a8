"""Makes the tasks of a step: plan, work on each chunk, commit, check."""

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Asset, TaskGroup, XComArg

from kale_tasks.airflow.dag_parts import heavy_task
from kale_tasks.airflow.operators import CheckOperator, CommitOperator, PlanOperator, WorkOperator

_DOCS = {
    "plan": "Opens the inputs and divides the remaining work into chunks. None are left if it is committed.",
    "work": "Makes the missing parts of one chunk. A retry makes only those that are still missing.",
    "commit": "Replaces the rows of the key by the finished parts in one transaction.",
    "check": "Checks the committed rows. If a critical check fails, no later step starts for this key.",
}


def step_group(step: str, *, does: str, pool: str | None = None, outlets: Sequence[Asset] = ()) -> TaskGroup:
    """Make the tasks of a step. The outlets are emitted after the checks have passed."""
    with TaskGroup(step, tooltip=does) as group:
        common: dict[str, Any] = {"step": step}
        plan = PlanOperator(task_id="plan", **_texts("plan", step), **common)
        fingerprint, base = XComArg(plan, key="fingerprint"), XComArg(plan, key="base")
        work = WorkOperator.partial(
            task_id="work",
            map_index_template="chunk {{ task.chunk }}",
            fingerprint=fingerprint,
            **_texts("work", step),
            **heavy_task(pool),
            **common,
        ).expand(chunk=plan.output)
        commit = CommitOperator(
            task_id="commit", fingerprint=fingerprint, base=base, **_texts("commit", step), **common
        )
        check = CheckOperator(task_id="check", outlets=list(outlets), **_texts("check", step), **common)
        work >> commit >> check
    return group


def _texts(verb: str, step: str) -> dict[str, str]:
    return {"doc_md": _DOCS[verb], "task_display_name": f"{step}: {verb}"}
