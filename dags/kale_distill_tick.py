"""Starts `kale_distill` at fixed times, in case no event did."""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, CronPartitionTimetable

from kale_tasks.airflow.dag_parts import dag_arguments, dag_id, distill_tick, schedule

with DAG(
    dag_id("distill_tick"),
    schedule=CronPartitionTimetable(schedule().distill_cron, timezone="UTC", key_format="%Y-%m-%d"),
    dag_display_name="KALE: distillation clock",
    description="Start kale_distill at fixed times.",
    doc_md=__doc__,
    **dag_arguments("models"),
):
    EmptyOperator(task_id="tick", doc_md="Emits the event that starts kale_distill.", outlets=[distill_tick()])
