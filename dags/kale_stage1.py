"""Stage 1: a captioner describes each image, then a language model fuses the description with the alt-text."""

from airflow.sdk import DAG, PartitionedAssetTimetable

from kale_tasks.airflow.dag_parts import RELEASE_READY, dag_arguments, step_asset
from kale_tasks.airflow.flow_operators import AnnounceOperator
from kale_tasks.airflow.forms import run_form
from kale_tasks.airflow.groups import step_group

with DAG(
    "kale_stage1",
    schedule=PartitionedAssetTimetable(assets=step_asset("images")),
    dag_display_name="KALE 3: stage 1",
    description="Dense captions, fused with the alt-text.",
    doc_md=__doc__,
    params=run_form("force", "limit", "preview", "recipe"),
    **dag_arguments("captions"),
):
    announce = AnnounceOperator(
        task_id="announce",
        task_display_name="announce release",
        doc_md="Starts a release if this key has captions of both stages.",
        what="release",
        outlet=RELEASE_READY,
    )
    step_group("dense") >> step_group("fuse") >> announce
