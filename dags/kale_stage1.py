"""Stage 1: a captioner describes what an image shows, then a language model fuses that with what the alt-text knows."""

from airflow.sdk import DAG, PartitionedAssetTimetable

from kale_tasks.airflow.announce import AnnounceOperator
from kale_tasks.airflow.assets import CAPTIONS1, IMAGES, RELEASE_READY
from kale_tasks.airflow.defaults import dag_arguments
from kale_tasks.airflow.groups import step_group
from kale_tasks.airflow.params import form

with DAG(
    "kale_stage1",
    schedule=PartitionedAssetTimetable(assets=IMAGES),
    dag_display_name="KALE 3: stage 1",
    description="Dense captions, fused with the alt-text.",
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
    dense = step_group("dense", does="What each image shows", pool="gpu")
    dense >> step_group("fuse", does="Joined with what the alt-text knows", pool="gpu", outlets=[CAPTIONS1]) >> announce
