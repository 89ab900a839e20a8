"""Trains a student when there are enough new stage-1 captions, and promotes it if it passes the promotion gate.

A student is trained on all keys, so its key is `all`. Captions of earlier students are kept.
"""

from airflow.sdk import DAG, FixedKeyMapper, PartitionedAssetTimetable

from kale_tasks.airflow.command_operator import CommandOperator
from kale_tasks.airflow.dag_parts import (
    dag_arguments,
    dag_id,
    dag_recipes,
    distill_tick,
    heavy_task,
    schedule,
    step_asset,
)
from kale_tasks.airflow.flow_operators import AnnounceOperator, OnlyIfPendingOperator, PendingKeysOperator
from kale_tasks.airflow.forms import run_form
from kale_tasks.airflow.operators import RunOperator
from kale_tasks.lake.keys import ALL_KEYS

for recipe in dag_recipes():
    with DAG(
        f"{dag_id('distill')}{recipe.suffix}",
        schedule=PartitionedAssetTimetable(
            assets=step_asset("fuse", recipe.name) | distill_tick(), default_partition_mapper=FixedKeyMapper(ALL_KEYS)
        ),
        dag_display_name=f"KALE 4: distill{recipe.title}",
        description="Train the student of a recipe on its stage-1 captions of all keys.",
        doc_md=__doc__,
        params=run_form("force"),
        **dag_arguments("models") | {"max_active_runs": 1},
    ):
        due = OnlyIfPendingOperator(
            task_id="due",
            task_display_name="enough new captions?",
            doc_md="Continues if there are `schedule.distill_new_rows` captions that no student was trained on.",
            what="distill",
            recipe=recipe.name,
            overrides=recipe.overrides,
        )
        announce = AnnounceOperator(
            task_id="announce",
            task_display_name="announce stage 2",
            doc_md="Starts stage 2 for every key that has images but no captions of stage 2.",
            what="stage2",
            recipe=recipe.name,
            outlet=recipe.stage2_ready,
            key=None,
            overrides=recipe.overrides,
        )
        distill = RunOperator(
            task_id="distill",
            task_display_name="train, evaluate, promote",
            doc_md="Trains on all committed captions. A retry continues from the last checkpoint, and so does a "
            "training that takes longer than a task may.",
            step="distill",
            trigger_rule="none_failed_min_one_success",  # no key may lack captions of its holdout
            retries=schedule().retries + schedule().distill_tasks - 1,
            retry_exponential_backoff=0,
            overrides=recipe.overrides,
        )
        distill >> announce
        if not schedule().holdout:
            due >> distill
        else:
            lacking = PendingKeysOperator(
                task_id="lacking",
                task_display_name="list keys of the holdout",
                doc_md="Lists the first keys whose holdout lacks captions, until there are `distill.gate.rows` of them "
                "to judge the student by.",
                what="holdout",
                recipe=recipe.name,
                most=schedule().active_runs,
                overrides=recipe.overrides,
            )
            holdout = CommandOperator.partial(
                task_id="holdout",
                task_display_name="caption the holdout",
                doc_md="Captions the holdout of a key by the recipe and at another seed. What is committed is not made "
                "again. If checks fail, accept the run or mend its cause, then clear this task.",
                map_index_template="{{ task.key }}",
                arguments=["run", "holdout"],
                overrides=recipe.overrides,
                **heavy_task("gpu"),
            ).expand(key=lacking.output)
            due >> lacking >> distill
            holdout >> distill
        if schedule().publish_student:
            publish = CommandOperator(
                task_id="publish",
                task_display_name="publish the student",
                doc_md="Publishes the promoted student with its card to `publish.model_target`. A retry changes "
                "nothing.",
                arguments=["publish", "--student"],
                key=None,
                overrides=recipe.overrides,
            )
            distill >> publish
