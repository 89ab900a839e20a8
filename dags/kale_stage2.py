"""Stage 2: the student writes the captions of the remaining images in one pass."""

from airflow.sdk import DAG, PartitionedAssetTimetable

from kale_tasks.airflow.announce import AnnounceOperator
from kale_tasks.airflow.assets import CAPTIONS2, RELEASE_READY, STAGE2_READY
from kale_tasks.airflow.defaults import dag_arguments
from kale_tasks.airflow.groups import step_group
from kale_tasks.airflow.params import form

with DAG(
    "kale_stage2",
    schedule=PartitionedAssetTimetable(assets=STAGE2_READY),
    dag_display_name="KALE 5: stage 2",
    description="Captions by the student.",
    doc_md=__doc__,
    params=form("force", "limit", "recipe"),
    **dag_arguments("captions"),
):
    announce = AnnounceOperator(
        task_id="announce",
        task_display_name="announce release",
        doc_md="Wakes the release if captions of both stages stand for this key.",
        what="release",
        outlet=RELEASE_READY,
    )
    step_group("student", does="Captions by the student", pool="gpu", outlets=[CAPTIONS2]) >> announce
