"""Makes the tasks of a step: plan, work on each chunk, seal, check, commit."""

from collections.abc import Mapping
from typing import Any

from airflow.sdk import TaskGroup, XComArg

from kale_tasks.airflow.dag_parts import OVERRIDES, DagRecipe, heavy_task, schedule, step_asset
from kale_tasks.airflow.operators import CheckOperator, CommitOperator, PlanOperator, SealOperator, WorkOperator
from kale_tasks.contract.registry import StepSpec, step_spec
from kale_tasks.recipes.files import PassOutline, outline

_DOCS = {
    "plan": "Opens the inputs and divides the remaining work into chunks. None are left if it is committed.",
    "work": "Makes the missing parts of its chunks. A retry makes only those that are still missing.",
    "seal": "Fixes the exact files of the run, once all parts are made.",
    "check": "Checks the files before anybody reads them. If a critical check fails, the key keeps the rows it had, "
    "and a Required Action asks whether to accept the run, and why (setting `schedule.ask`).",
    "commit": "Replaces the rows of the key by those of the run in one transaction.",
}


def step_group(step: str, recipe: DagRecipe | None = None) -> TaskGroup:
    """Make the tasks of a step, of a recipe if it is one of a recipe.

    Its asset, if it has one, is emitted by the commit, which comes after the checks.
    """
    return _group(step_spec(step, recipe.name if recipe else ""), step, recipe.overrides if recipe else OVERRIDES)


def pass_groups(recipe: DagRecipe) -> list[TaskGroup]:
    """Make the tasks of every pass of a recipe, in order, from the names of the passes alone."""
    return [_group(_pass_spec(one), one.name, recipe.overrides) for one in outline(recipe.name)]


def _pass_spec(one: PassOutline) -> StepSpec:
    suite = "checked" if one.asks else None  # which one, the command knows
    return StepSpec(one.name, "", f"the texts of {one.name}", "texts", suite=suite, pool="gpu" if one.asks else None)


def _group(spec: StepSpec, step: str, overrides: Mapping[str, str]) -> TaskGroup:
    outlets = [step_asset(step, spec.arguments[0] if spec.arguments else "")] if spec.asset else []
    with TaskGroup(step, tooltip=f"Makes {spec.title}") as group:
        common: dict[str, Any] = {"step": step, "overrides": overrides}
        tasks = schedule().gpu_tasks if spec.pool == "gpu" else None
        plan = PlanOperator(task_id="plan", tasks=tasks, **_texts("plan", step), **common)
        fingerprint, base = XComArg(plan, key="fingerprint"), XComArg(plan, key="base")
        work = WorkOperator.partial(
            task_id="work",
            map_index_template="chunk {{ task.chunks | join(', ') }}",
            fingerprint=fingerprint,
            **_texts("work", step),
            **heavy_task(spec.pool),
            **common,
        ).expand(chunks=plan.output)
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
