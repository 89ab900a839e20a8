"""A clock: makes the distillation look at the lake although no captions came."""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, CronPartitionTimetable

from kale_tasks.airflow.assets import DISTILL_TICK
from kale_tasks.airflow.defaults import dag_arguments
from kale_tasks.airflow.settings import schedule

with DAG(
    "kale_distill_tick",
    schedule=CronPartitionTimetable(schedule().distill_cron, timezone="UTC", key_format="%Y-%m-%d"),
    dag_display_name="KALE: clock of the distillation",
    description="Wakes kale_distill from time to time.",
    doc_md=__doc__,
    **dag_arguments("models"),
):
    EmptyOperator(task_id="tick", doc_md="Emits the tick.", outlets=[DISTILL_TICK])
