"""Every day: let old snapshots and unused files go, and announce again what the lake says is still missing.

A paused Dag loses the events that were meant for it; here they are found again.
"""

from airflow.sdk import DAG, CronTriggerTimetable

from kale_tasks.airflow.announce import AnnounceOperator
from kale_tasks.airflow.assets import IMAGES, PAIRS, RELEASE_READY, STAGE2_READY
from kale_tasks.airflow.defaults import dag_arguments
from kale_tasks.airflow.operators import CommandOperator

_MISSING = {"images": PAIRS, "stage1": IMAGES, "stage2": STAGE2_READY, "release": RELEASE_READY}

with DAG(
    "kale_maintenance",
    schedule=CronTriggerTimetable("30 3 * * *", timezone="UTC"),
    dag_display_name="KALE: maintenance",
    description="Housekeeping of the lake, and lost announcements found again.",
    doc_md=__doc__,
    max_active_runs=1,
    **dag_arguments("upkeep"),
):
    CommandOperator(
        task_id="maintain",
        doc_md="Expires old snapshots and deletes files that nothing uses; see the settings under `maintenance`.",
        arguments=["maintain"],
        key=None,
    )
    for what, asset in _MISSING.items():
        AnnounceOperator(
            task_id=f"announce_{what}",
            task_display_name=f"announce missing {what}",
            doc_md=f"Wakes the Dag that makes {what} for every key that lacks it.",
            what=what,
            outlet=asset,
            key=None,
        )
