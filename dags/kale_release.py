"""Builds a release of all committed captions and publishes it after a person has approved it.

One release is built at a time. Keys that become ready meanwhile are in the next one.
"""

from airflow.sdk import DAG, FixedKeyMapper, PartitionedAssetTimetable

from kale_tasks.airflow.command_operator import CommandOperator
from kale_tasks.airflow.dag_parts import dag_arguments, dag_id, release_ready, schedule
from kale_tasks.airflow.flow_operators import OnlyIfPendingOperator
from kale_tasks.airflow.forms import run_form
from kale_tasks.airflow.operators import RunOperator
from kale_tasks.airflow.questions import ApproveOperator
from kale_tasks.lake.keys import ALL_KEYS

with DAG(
    dag_id("release"),
    schedule=PartitionedAssetTimetable(assets=release_ready(), default_partition_mapper=FixedKeyMapper(ALL_KEYS)),
    dag_display_name="KALE 6: release",
    description="Build a release of all keys, ask for approval, publish.",
    doc_md=__doc__,
    params=run_form("force"),
    **dag_arguments("release") | {"max_active_runs": 1},
):
    due = OnlyIfPendingOperator(
        task_id="due",
        task_display_name="anything new?",
        doc_md="Continues if a key has captions of both stages that are in no release yet.",
        what="release",
    )
    built = RunOperator(
        task_id="release",
        task_display_name="build the release",
        doc_md="Writes the files of keys that changed; files of other keys are reused from the last release.",
        step="release",
    )
    approved = ["--version", "{{ ti.xcom_pull(task_ids='approve') }}"] if schedule().approve else []
    publish = CommandOperator(
        task_id="publish",
        doc_md="Publishes to `publish.target` in one commit: the release that was approved, and only while it is the "
        "newest. A retry changes nothing.",
        arguments=["publish", *approved],
        key=ALL_KEYS,
    )
    due >> built
    if schedule().approve:
        approve = ApproveOperator(
            task_id="approve",
            doc_md="Waits for a person, who sees the changes, the report and the card. A refusal publishes nothing, "
            "nor does a question that nobody answers in time.",
            subject="Publish the release of all keys?",
            key=ALL_KEYS,
            execution_timeout=None,
        )
        built >> approve >> publish
    else:
        built >> publish
