"""A new student is trained when enough new stage-1 captions stand; if its gate lets it through, it is put to use.

It learns from all keys, so its own key is `all`. The captions of earlier students stay as they are.
"""

from airflow.sdk import DAG, FixedKeyMapper, PartitionedAssetTimetable

from kale_tasks.airflow.announce import AnnounceOperator
from kale_tasks.airflow.assets import CAPTIONS1, DISTILL_TICK, STAGE2_READY
from kale_tasks.airflow.decide import OnlyIfDueOperator
from kale_tasks.airflow.defaults import dag_arguments
from kale_tasks.airflow.groups import heavy
from kale_tasks.airflow.operators import RunOperator
from kale_tasks.airflow.params import form
from kale_tasks.lake.partition import ALL_KEYS

with DAG(
    "kale_distill",
    schedule=PartitionedAssetTimetable(
        assets=CAPTIONS1 | DISTILL_TICK, default_partition_mapper=FixedKeyMapper(ALL_KEYS)
    ),
    dag_display_name="KALE 4: distill",
    description="Train the student on the stage-1 captions of all keys.",
    doc_md=__doc__,
    params=form("force"),
    max_active_runs=1,
    **dag_arguments("models"),
):
    due = OnlyIfDueOperator(
        task_id="due",
        task_display_name="enough new captions?",
        doc_md="Goes on if `schedule.distill_new_rows` captions stand that no student has learnt from.",
        what="distill",
    )
    announce = AnnounceOperator(
        task_id="announce",
        task_display_name="announce stage 2",
        doc_md="Wakes stage 2 for every key that has images and no captions of a student yet.",
        what="stage2",
        outlet=STAGE2_READY,
        key=None,
    )
    distill = RunOperator(
        task_id="distill",
        task_display_name="train, judge, promote",
        doc_md="Trains on the captions that stand now; killed, it goes on from its last checkpoint.",
        step="distill",
        key=ALL_KEYS,
        **heavy("gpu"),
    )
    due >> distill >> announce
