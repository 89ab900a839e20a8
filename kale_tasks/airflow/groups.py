"""Makes the tasks of a step: plan, work on each chunk, seal, check, commit."""

from typing import Any

from airflow.sdk import TaskGroup, XComArg

from kale_tasks.airflow.dag_parts import heavy_task, step_asset
from kale_tasks.airflow.operators import CheckOperator, CommitOperator, PlanOperator, SealOperator, WorkOperator
from kale_tasks.contract.registry import step_spec

_DOCS = {
    "plan": "Opens the inputs and divides the remaining work into chunks. None are left if it is committed.",
    "work": "Makes the missing parts of one chunk. A retry makes only those that are still missing.",
    "seal": "Fixes the exact files of the run, once all parts are made.",
    "check": "Checks the files before anybody reads them. If a critical check fails, the key keeps the rows it had; "
    "a person accepts the run with `kale check STEP --key K --accept REASON` and clears this task.",
    "commit": "Replaces the rows of the key by those of the run in one transaction.",
}


def step_group(step: str) -> TaskGroup:
    """Make the tasks of a step. Its asset, if it has one, is emitted by the commit, which comes after the checks."""
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
        common |= {"fingerprint": fingerprint}
        seal = SealOperator(task_id="seal", **_texts("seal", step), **common)
        commit = CommitOperator(task_id="commit", base=base, outlets=outlets, **_texts("commit", step), **common)
        work >> seal
        if spec.suite:
            seal >> CheckOperator(task_id="check", **_texts("check", step), **common) >> commit
        else:
            seal >> commit
    return group


def _texts(verb: str, step: str) -> dict[str, str]:
    return {"doc_md": _DOCS[verb], "task_display_name": f"{step}: {verb}"}
