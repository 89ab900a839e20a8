"""The images of a key's pairs are fetched, or adopted from tars that came with them."""

from airflow.sdk import DAG, PartitionedAssetTimetable

from kale_tasks.airflow.announce import AnnounceOperator
from kale_tasks.airflow.assets import IMAGES, PAIRS, STAGE2_READY
from kale_tasks.airflow.defaults import dag_arguments
from kale_tasks.airflow.groups import step_group
from kale_tasks.airflow.params import form

with DAG(
    "kale_images",
    schedule=PartitionedAssetTimetable(assets=PAIRS),
    dag_display_name="KALE 2: images",
    description="Fetch or adopt the images of a key.",
    doc_md=__doc__,
    params=form("redrive", "limit"),
    **dag_arguments("images"),
):
    announce = AnnounceOperator(
        task_id="announce",
        task_display_name="announce stage 2",
        doc_md="Wakes stage 2 for this key if a student is in use; else the distillation will, once it has made one.",
        what="stage2",
        outlet=STAGE2_READY,
    )
    step_group("images", does="Images of the pairs", outlets=[IMAGES]) >> announce
