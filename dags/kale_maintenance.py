"""Every day: expires old snapshots, deletes unused files, and announces pending work again.

A paused Dag loses the events that it would have received; this Dag repeats them.
"""

from airflow.sdk import DAG, CronTriggerTimetable

from kale_tasks.airflow.command_operator import CommandOperator
from kale_tasks.airflow.dag_parts import dag_arguments, dag_id, dag_recipes, release_ready, step_asset
from kale_tasks.airflow.flow_operators import AnnounceOperator

_QUIET_HOURS = 6.0  # a part of a caption step takes minutes: nobody works on a key without a new file
_DOC = (
    "Starts the Dag that makes {what} for every key that lacks it or whose inputs have changed, unless it is blocked "
    "or was worked on in the last hours."
)

with DAG(
    dag_id("maintenance"),
    schedule=CronTriggerTimetable("30 3 * * *", timezone="UTC"),
    dag_display_name="KALE: maintenance",
    description="Clean up the lake and repeat lost announcements.",
    doc_md=__doc__,
    **dag_arguments("upkeep") | {"max_active_runs": 1},
):
    CommandOperator(
        task_id="maintain",
        doc_md="Expires old snapshots and deletes unused files; see the settings in `maintenance`.",
        arguments=["maintain"],
        key=None,
    )
    for what, asset in {"images": step_asset("ingest"), "release": release_ready()}.items():
        AnnounceOperator(
            task_id=f"announce_{what}",
            task_display_name=f"announce pending {what}",
            doc_md=_DOC.format(what=what),
            what=what,
            outlet=asset,
            key=None,
            quiet_hours=_QUIET_HOURS,
        )
    for recipe in dag_recipes():
        for what, asset in {"stage1": step_asset("images"), "stage2": recipe.stage2_ready}.items():
            AnnounceOperator(
                task_id=f"announce_{what}{recipe.suffix}",
                task_display_name=f"announce pending {what}{recipe.title}",
                doc_md=_DOC.format(what=what),
                what=what,
                recipe=recipe.name,
                outlet=asset,
                key=None,
                quiet_hours=_QUIET_HOURS,
                overrides=recipe.overrides,
            )
