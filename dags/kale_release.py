"""All captions that stand become a release, which is published once a person has agreed.

One release at a time: keys that become ready meanwhile are in the next one.
"""

from airflow.sdk import DAG, FixedKeyMapper, PartitionedAssetTimetable

from kale_tasks.airflow.assets import RELEASE_READY
from kale_tasks.airflow.decide import OnlyIfDueOperator
from kale_tasks.airflow.defaults import dag_arguments
from kale_tasks.airflow.operators import CommandOperator, RunOperator
from kale_tasks.airflow.params import form
from kale_tasks.airflow.settings import schedule
from kale_tasks.lake.partition import ALL_KEYS

with DAG(
    "kale_release",
    schedule=PartitionedAssetTimetable(assets=RELEASE_READY, default_partition_mapper=FixedKeyMapper(ALL_KEYS)),
    dag_display_name="KALE 6: release",
    description="Build a release of all keys, ask, publish.",
    doc_md=__doc__,
    params=form("force"),
    max_active_runs=1,
    **dag_arguments("release"),
):
    due = OnlyIfDueOperator(
        task_id="due",
        task_display_name="anything new?",
        doc_md="Goes on if captions of both stages stand that no release holds yet.",
        what="release",
    )
    built = RunOperator(
        task_id="release",
        task_display_name="build the release",
        doc_md="Writes the files of the keys that changed; those of the others are taken over from the last release.",
        step="release",
        key=ALL_KEYS,
    )
    publish = CommandOperator(
        task_id="publish",
        doc_md="Puts the release where `publish.target` says, in one commit; doing it again changes nothing.",
        arguments=["publish"],
        key=ALL_KEYS,
    )
    due >> built
    if schedule().approve:
        from kale_tasks.airflow.approve import ApproveOperator

        approve = ApproveOperator(
            task_id="approve",
            doc_md="Waits for a person, who sees what would change, the report and the card; a no leaves all as it is.",
            subject="Publish the release of all keys?",
            key=ALL_KEYS,
            execution_timeout=None,
        )
        built >> approve >> publish
    else:
        built >> publish
