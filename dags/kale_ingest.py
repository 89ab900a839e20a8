"""Landing files of a day become its pairs. Backfill this Dag: the others follow.

A key is deduplicated against the keys before it, so they run one at a time, the oldest first.
"""

from airflow.sdk import DAG, CronPartitionTimetable

from kale_tasks.airflow.assets import PAIRS
from kale_tasks.airflow.defaults import dag_arguments
from kale_tasks.airflow.groups import step_group
from kale_tasks.airflow.params import form
from kale_tasks.airflow.sensor import LandingSensor
from kale_tasks.airflow.settings import schedule

with DAG(
    "kale_ingest",
    schedule=CronPartitionTimetable(schedule().cron, timezone="UTC", key_format="%Y-%m-%d"),
    dag_display_name="KALE 1: ingest",
    description="Clean, deduplicate and split the alt-text pairs of a day.",
    doc_md=__doc__,
    params=form("force", "limit"),
    max_active_runs=1,
    **dag_arguments("ingest") | {"catchup": schedule().catchup},
):
    landed = LandingSensor(
        task_id="landing",
        task_display_name="wait for landing files",
        doc_md="Waits until the key's landing files are complete; a day without any ends here, as skipped.",
        wait_hours=schedule().landing_wait_hours,
        poll_seconds=schedule().landing_poll_seconds,
    )
    landed >> step_group("ingest", does="Pairs from landing files", pool="spark", outlets=[PAIRS])
