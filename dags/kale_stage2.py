"""Stage 2: the student of a recipe writes the captions of the remaining images in one pass."""

from airflow.sdk import DAG, PartitionedAssetTimetable

from kale_tasks.airflow.dag_parts import RELEASE_READY, dag_arguments, dag_recipes
from kale_tasks.airflow.flow_operators import AnnounceOperator
from kale_tasks.airflow.forms import run_form
from kale_tasks.airflow.groups import step_group

for recipe in dag_recipes():
    with DAG(
        f"kale_stage2{recipe.suffix}",
        schedule=PartitionedAssetTimetable(assets=recipe.stage2_ready),
        dag_display_name=f"KALE 5: stage 2{recipe.title}",
        description="Captions by the student.",
        doc_md=__doc__,
        params=run_form("force", "limit", "preview"),
        **dag_arguments("captions"),
    ):
        announce = AnnounceOperator(
            task_id="announce",
            task_display_name="announce release",
            doc_md="Starts a release if this key has captions of both stages.",
            what="release",
            outlet=RELEASE_READY,
            overrides=recipe.overrides,
        )
        step_group("student", recipe) >> announce
