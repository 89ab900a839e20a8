"""Stage 2: the student writes the captions of the remaining images in one pass."""

from airflow.sdk import DAG, PartitionedAssetTimetable

from kale_tasks.airflow.dag_parts import RELEASE_READY, STAGE2_READY, dag_arguments
from kale_tasks.airflow.flow_operators import AnnounceOperator
from kale_tasks.airflow.forms import run_form
from kale_tasks.airflow.groups import step_group

with DAG(
    "kale_stage2",
    schedule=PartitionedAssetTimetable(assets=STAGE2_READY),
    dag_display_name="KALE 5: stage 2",
    description="Captions by the student.",
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
    step_group("student") >> announce
