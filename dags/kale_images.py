"""Fetches the images of a key, or adopts them from tars among the landing files."""

from airflow.sdk import DAG, PartitionedAssetTimetable

from kale_tasks.airflow.dag_parts import STAGE2_READY, dag_arguments, step_asset
from kale_tasks.airflow.flow_operators import AnnounceOperator
from kale_tasks.airflow.forms import run_form
from kale_tasks.airflow.groups import step_group

with DAG(
    "kale_images",
    schedule=PartitionedAssetTimetable(assets=step_asset("ingest")),
    dag_display_name="KALE 2: images",
    description="Fetch or adopt the images of a key.",
    doc_md=__doc__,
    params=run_form("redrive", "limit", "preview"),
    **dag_arguments("images"),
):
    announce = AnnounceOperator(
        task_id="announce",
        task_display_name="announce stage 2",
        doc_md="Starts stage 2 for this key if a student is promoted; otherwise `kale_distill` does that later.",
        what="stage2",
        outlet=STAGE2_READY,
    )
    step_group("images") >> announce
