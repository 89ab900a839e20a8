"""Fetches the images of a key, or adopts them from tars among the landing files."""

from airflow.sdk import DAG, PartitionedAssetTimetable

from kale_tasks.airflow.dag_parts import dag_arguments, dag_id, dag_recipes, step_asset
from kale_tasks.airflow.flow_operators import AnnounceOperator
from kale_tasks.airflow.forms import key_form
from kale_tasks.airflow.groups import step_group

with DAG(
    dag_id("images"),
    schedule=PartitionedAssetTimetable(assets=step_asset("ingest")),
    dag_display_name="KALE 2: images",
    description="Fetch or adopt the images of a key.",
    doc_md=__doc__,
    params=key_form("redrive", "limit", "preview"),
    **dag_arguments("images"),
):
    images = step_group("images")
    for recipe in dag_recipes():
        images >> AnnounceOperator(
            task_id=f"announce{recipe.suffix}",
            task_display_name=f"announce stage 2{recipe.title}",
            doc_md="Starts stage 2 for this key if a student is promoted; otherwise `kale_distill` does that later.",
            what="stage2",
            recipe=recipe.name,
            outlet=recipe.stage2_ready,
            overrides=recipe.overrides,
        )
