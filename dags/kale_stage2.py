"""Stage 2: the student of a recipe writes the captions of the remaining images in one pass."""

from airflow.sdk import DAG, PartitionedAssetTimetable

from kale_tasks.airflow.command_operator import CommandOperator
from kale_tasks.airflow.dag_parts import dag_arguments, dag_id, dag_recipes, heavy_task, release_ready
from kale_tasks.airflow.flow_operators import AnnounceOperator
from kale_tasks.airflow.forms import key_form
from kale_tasks.airflow.groups import step_group
from kale_tasks.recipes.files import sampled_share

for recipe in dag_recipes():
    with DAG(
        f"{dag_id('stage2')}{recipe.suffix}",
        schedule=PartitionedAssetTimetable(assets=recipe.stage2_ready),
        dag_display_name=f"KALE 5: stage 2{recipe.title}",
        description="Captions by the student.",
        doc_md=__doc__,
        params=key_form("force", "limit", "preview"),
        **dag_arguments("captions"),
    ):
        announce = AnnounceOperator(
            task_id="announce",
            task_display_name="announce release",
            doc_md="Starts a release if this key has captions of both stages.",
            what="release",
            outlet=release_ready(),
            overrides=recipe.overrides,
        )
        student = step_group("student", recipe)
        student >> announce
        if sampled_share(recipe.name):
            sampled = CommandOperator(
                task_id="sampled",
                task_display_name="the teacher on a sample",
                doc_md="Captions a share of these images by the passes of the recipe, too (`student.sampled`). The "
                "check compares the student's captions with them.",
                arguments=["run", "sampled"],
                overrides=recipe.overrides,
                **heavy_task("gpu"),
            )
            sampled >> student
