"""Takes rows out of every table, index and shard, and keeps them out. Started by a person, with a form.

The keys that lost rows are announced to the release. The takedown is ended, with a certificate, by a second run
once readers had time to move on to the new release.
"""

from airflow.sdk import DAG

from kale_tasks.airflow.announce import AnnounceOperator
from kale_tasks.airflow.assets import RELEASE_READY
from kale_tasks.airflow.defaults import dag_arguments
from kale_tasks.airflow.takedown import TakedownOperator, takedown_form

with DAG(
    "kale_takedown",
    schedule=None,
    dag_display_name="KALE: takedown",
    description="Remove rows on request, everywhere.",
    doc_md=__doc__,
    params=takedown_form(),
    max_active_runs=1,
    **dag_arguments("upkeep"),
):
    taken = TakedownOperator(
        task_id="takedown",
        task_display_name="take down",
        doc_md="Rewrites what holds the rows; doing it again changes nothing.",
    )
    announce = AnnounceOperator(
        task_id="announce",
        task_display_name="announce release",
        doc_md="Wakes the release for every key whose captions are no longer those of the last one.",
        what="release",
        outlet=RELEASE_READY,
        key=None,
    )
    taken >> announce
