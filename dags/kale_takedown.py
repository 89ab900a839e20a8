"""Removes rows from every table, index and shard, and keeps them out. Started by a person with a form.

Keys that lost rows are announced for a release. A second run, after readers had time to move to the new
release, ends the takedown and writes a certificate.
"""

from airflow.sdk import DAG

from kale_tasks.airflow.dag_parts import dag_arguments, dag_id, release_ready
from kale_tasks.airflow.flow_operators import AnnounceOperator, TakedownOperator
from kale_tasks.airflow.forms import takedown_form

with DAG(
    dag_id("takedown"),
    schedule=None,
    dag_display_name="KALE: takedown",
    description="Remove rows on request, everywhere.",
    doc_md=__doc__,
    params=takedown_form(),
    **dag_arguments("upkeep") | {"max_active_runs": 1},
):
    taken = TakedownOperator(
        task_id="takedown",
        task_display_name="take down",
        doc_md="Rewrites everything that contains the rows. A retry changes nothing.",
    )
    announce = AnnounceOperator(
        task_id="announce",
        task_display_name="announce release",
        doc_md="Starts a release for the keys whose captions differ from the last one.",
        what="release",
        outlet=release_ready(),
        key=None,
    )
    taken >> announce
