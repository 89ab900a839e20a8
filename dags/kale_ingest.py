"""Makes the pairs of a day from its landing files. Backfill this Dag; the others follow.

A key is compared with the keys before it, so one key is made at a time; any number may wait for their files.
"""

from airflow.sdk import DAG, CronPartitionTimetable

from kale_tasks.airflow.command_operator import KEY
from kale_tasks.airflow.dag_parts import dag_arguments, dag_id, schedule, step_asset
from kale_tasks.airflow.forms import key_form
from kale_tasks.airflow.operators import RunOperator
from kale_tasks.airflow.sensor import LandingSensor

with DAG(
    dag_id("ingest"),
    schedule=CronPartitionTimetable(schedule().cron, timezone="UTC", run_offset=-1, key_format="%Y-%m-%d"),
    dag_display_name="KALE 1: ingest",
    description="Clean, deduplicate and split the alt-text pairs of a day.",
    doc_md=__doc__,
    params=key_form("force", "limit", "preview"),
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
    ingest = RunOperator(
        task_id="ingest",
        task_display_name="clean, deduplicate, check, commit",
        doc_md="Plans, makes, checks and commits the pairs in one task. The pool of the step has one slot, so that one "
        "key is made after the other. If a critical check fails, the key keeps the rows it had, and a person is asked.",
        step="ingest",
        key=KEY,
        outlets=[step_asset("ingest")],
    )
    landed >> ingest
