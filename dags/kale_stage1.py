"""Stage 1: the passes of a recipe, such as a description of each image that is fused with the alt-text, in order.

Every recipe of `schedule.recipes` has a Dag. Recipes share the passes that they have in common.
"""

from itertools import pairwise

from airflow.sdk import DAG, PartitionedAssetTimetable

from kale_tasks.airflow.dag_parts import dag_arguments, dag_id, dag_recipes, release_ready, step_asset
from kale_tasks.airflow.flow_operators import AnnounceOperator
from kale_tasks.airflow.forms import key_form
from kale_tasks.airflow.groups import pass_groups, step_group

for recipe in dag_recipes():
    with DAG(
        f"{dag_id('stage1')}{recipe.suffix}",
        schedule=PartitionedAssetTimetable(assets=step_asset("images")),
        dag_display_name=f"KALE 3: stage 1{recipe.title}",
        description="The passes of a recipe, and the captions that they end in.",
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
        groups = [*pass_groups(recipe), step_group("fuse", recipe)]
        for before, after in pairwise(groups):
            before >> after
        groups[-1] >> announce
