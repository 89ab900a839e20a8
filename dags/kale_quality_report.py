"""Makes the report on a key after captions of it were committed."""

from airflow.sdk import DAG, PartitionedAssetTimetable

from kale_tasks.airflow.command_operator import CommandOperator
from kale_tasks.airflow.dag_parts import captions_asset, dag_arguments, dag_id

with DAG(
    dag_id("quality_report"),
    schedule=PartitionedAssetTimetable(assets=captions_asset("fuse", "student")),
    dag_display_name="KALE: quality report",
    description="Report the contents and the quality of a key.",
    doc_md=__doc__,
    **dag_arguments("quality"),
):
    CommandOperator(
        task_id="report",
        task_display_name="write the report",
        doc_md="Writes a page with counts, check results and samples of the key.",
        arguments=["report"],
    )
