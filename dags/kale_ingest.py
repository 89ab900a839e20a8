"""Makes the pairs of a day from its landing files. Backfill this Dag; the others follow.

A key is deduplicated against the keys before it, so keys run one at a time, the oldest first.
"""

from airflow.sdk import DAG, CronPartitionTimetable

from kale_tasks.airflow.dag_parts import dag_arguments, schedule
from kale_tasks.airflow.forms import run_form
from kale_tasks.airflow.groups import step_group
from kale_tasks.airflow.sensor import LandingSensor

with DAG(
    "kale_ingest",
    schedule=CronPartitionTimetable(schedule().cron, timezone="UTC", run_offset=-1, key_format="%Y-%m-%d"),
    dag_display_name="KALE 1: ingest",
    description="Clean, deduplicate and split the alt-text pairs of a day.",
    doc_md=__doc__,
    params=run_form("force", "limit", "preview"),
    max_active_runs=1,
    **dag_arguments("ingest") | {"catchup": schedule().catchup},
):
    landed = LandingSensor(
        task_id="landing",
        task_display_name="wait for landing files",
        doc_md="Waits until the landing files of the key are complete. A day without files is skipped.",
        wait_hours=schedule().landing_wait_hours,
        poll_seconds=schedule().landing_poll_seconds,
        quiet_minutes=schedule().landing_quiet_minutes,
    )
    landed >> step_group("ingest")
