"""Trains a small model on each arm of an evaluation with each seed, one mapped task each, and reports what that shows.

Started by a person, with the name of a design. A design cannot be changed after its first result.
"""

from typing import Any

from airflow.sdk import DAG

from kale_tasks.airflow.command_operator import CommandOperator
from kale_tasks.airflow.dag_parts import dag_arguments, dag_id, heavy_task
from kale_tasks.airflow.forms import design_form

DESIGN = "{{ params['design'] }}"


def run_command(run: dict[str, Any]) -> list[str]:
    """Return the command that makes a run."""
    return ["evaluate", "downstream", run["design"], "--run", run["run"]]


with DAG(
    dag_id("evaluate"),
    schedule=None,
    dag_display_name="KALE: evaluate",
    description="Measure what training on the texts of each arm is worth.",
    doc_md=__doc__,
    params=design_form(),
    **dag_arguments("quality") | {"max_active_runs": 1},
):
    common: dict[str, Any] = {"key": None, "overrides": {}}
    pending = CommandOperator(
        task_id="pending",
        task_display_name="list the runs",
        doc_md="Lists the arms and seeds that have no answers yet.",
        arguments=["evaluate", "downstream", DESIGN, "--list"],
        **common,
    )
    made = CommandOperator.partial(
        task_id="run",
        task_display_name="train, tune, ask",
        doc_md="Makes one run. A retry goes on from the last checkpoint.",
        map_index_template="{{ task.arguments[-1] }}",
        **heavy_task("gpu"),
        **common,
    ).expand(arguments=pending.output.map(run_command))
    report = CommandOperator(
        task_id="report",
        task_display_name="write the report",
        doc_md="Compares the arms, with intervals, and says what is shown and what is not.",
        trigger_rule="none_failed_min_one_success",  # without pending runs there is still something to report
        arguments=["evaluate", "report", DESIGN],
        **common,
    )
    pending >> made >> report
    pending >> report
