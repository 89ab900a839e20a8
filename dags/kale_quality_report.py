"""The quality report of a key, made anew whenever captions of it were committed."""

from airflow.sdk import DAG, PartitionedAssetTimetable

from kale_tasks.airflow.assets import CAPTIONS1, CAPTIONS2
from kale_tasks.airflow.defaults import dag_arguments
from kale_tasks.airflow.operators import CommandOperator

with DAG(
    "kale_quality_report",
    schedule=PartitionedAssetTimetable(assets=CAPTIONS1 | CAPTIONS2),
    dag_display_name="KALE: quality report",
    description="What a key holds and how good it is, as a page.",
    doc_md=__doc__,
    **dag_arguments("quality"),
):
    CommandOperator(
        task_id="report",
        task_display_name="write the report",
        doc_md="Counts and samples of every table of the key; it only reads.",
        arguments=["report"],
    )
