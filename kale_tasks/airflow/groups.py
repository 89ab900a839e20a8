"""A step as a group of tasks: plan, work on each chunk, commit, check."""

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Asset, TaskGroup, XComArg

from kale_tasks.airflow.operators import CheckOperator, CommitOperator, PlanOperator, WorkOperator
from kale_tasks.airflow.settings import schedule

_DOCS = {
    "plan": "Reads what stands committed and cuts what is left to do into chunks; none when all of it is done.",
    "work": "Makes the missing parts of one chunk. Run again, it makes only those that are still missing.",
    "commit": "Puts the finished parts in place of the key's rows, in one transaction; every row is accounted for.",
    "check": "Checks the committed rows. If a critical check fails, no later step starts for this key.",
}


def step_group(step: str, *, does: str, pool: str | None = None, outlets: Sequence[Asset] = ()) -> TaskGroup:
    """Make the tasks of a step. The outlets are emitted after the checks have passed."""
    with TaskGroup(step, tooltip=does) as group:
        common: dict[str, Any] = {"step": step}
        plan = PlanOperator(task_id="plan", **_said("plan", step), **common)
        fingerprint, base = XComArg(plan, key="fingerprint"), XComArg(plan, key="base")
        work = WorkOperator.partial(
            task_id="work",
            map_index_template="chunk {{ task.chunk }}",
            fingerprint=fingerprint,
            **_said("work", step),
            **heavy(pool),
            **common,
        ).expand(chunk=plan.output)
        commit = CommitOperator(task_id="commit", fingerprint=fingerprint, base=base, **_said("commit", step), **common)
        check = CheckOperator(task_id="check", outlets=list(outlets), **_said("check", step), **common)
        work >> commit >> check
    return group


def _said(verb: str, step: str) -> dict[str, str]:
    return {"doc_md": _DOCS[verb], "task_display_name": f"{step}: {verb}"}


def heavy(pool: str | None) -> dict[str, Any]:
    """Where heavy work runs; an executor or queue is named only when it is configured, or the Dag would not parse."""
    of = schedule()
    queue = of.queue if pool == "gpu" else None
    wanted = {"pool": pool, "executor": of.executor if pool else None, "queue": queue}
    return {name: value for name, value in wanted.items() if value}
