"""Makes the tasks of a step: plan, work on each chunk, commit, check."""

from typing import Any

from airflow.sdk import TaskGroup, XComArg

from kale_tasks.airflow.dag_parts import heavy_task, step_asset
from kale_tasks.airflow.operators import CheckOperator, CommitOperator, PlanOperator, WorkOperator
from kale_tasks.contract.registry import step_spec

_DOCS = {
    "plan": "Opens the inputs and divides the remaining work into chunks. None are left if it is committed.",
    "work": "Makes the missing parts of one chunk. A retry makes only those that are still missing.",
    "commit": "Replaces the rows of the key by the finished parts in one transaction.",
    "check": "Checks the committed rows. If a critical check fails, no later step starts for this key.",
}


def step_group(step: str) -> TaskGroup:
    """Make the tasks of a step. Its asset, if it has one, is emitted after the checks have passed."""
    spec = step_spec(step)
    outlets = [step_asset(step)] if spec.asset else []
    with TaskGroup(step, tooltip=f"Makes {spec.title}") as group:
        common: dict[str, Any] = {"step": step}
        plan = PlanOperator(task_id="plan", **_texts("plan", step), **common)
        fingerprint, base = XComArg(plan, key="fingerprint"), XComArg(plan, key="base")
        work = WorkOperator.partial(
            task_id="work",
            map_index_template="chunk {{ task.chunk }}",
            fingerprint=fingerprint,
            **_texts("work", step),
            **heavy_task(spec.pool),
            **common,
        ).expand(chunk=plan.output)
        commit = CommitOperator(
            task_id="commit", fingerprint=fingerprint, base=base, **_texts("commit", step), **common
        )
        check = CheckOperator(task_id="check", outlets=outlets, **_texts("check", step), **common)
        work >> commit >> check
    return group


def _texts(verb: str, step: str) -> dict[str, str]:
    return {"doc_md": _DOCS[verb], "task_display_name": f"{step}: {verb}"}
