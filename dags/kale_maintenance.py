"""Every day: expires old snapshots, deletes unused files, announces pending work again, and ingests marked keys again.

A paused Dag loses the events that it would have received; this Dag repeats them. A key is marked when an earlier key
that came late keeps some of its pairs; releases leave it out until it is ingested again.
"""

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, CronTriggerTimetable

from kale_tasks.airflow.command_operator import CommandOperator
from kale_tasks.airflow.dag_parts import dag_arguments, dag_id, dag_recipes, release_ready, schedule, step_asset
from kale_tasks.airflow.flow_operators import AnnounceOperator, PendingKeysOperator

_QUIET_HOURS = 6.0  # a part of a caption step takes minutes: nobody works on a key without a new file
_DOC = (
    "Starts the Dag that makes {what} for every key that lacks it or whose inputs have changed, unless it is blocked "
    "or was worked on in the last hours."
)


def form(key: str) -> dict[str, str]:
    """Return the form of a run of one key."""
    return {"key": key}


with DAG(
    dag_id("maintenance"),
    schedule=CronTriggerTimetable("30 3 * * *", timezone="UTC"),
    dag_display_name="KALE: maintenance",
    description="Clean up the lake, repeat lost announcements, ingest marked keys again.",
    doc_md=__doc__,
    **dag_arguments("upkeep") | {"max_active_runs": 1},
):
    CommandOperator(
        task_id="maintain",
        doc_md="Expires old snapshots and deletes unused files; see the settings in `maintenance`.",
        arguments=["maintain"],
        key=None,
    )
    marked = PendingKeysOperator(
        task_id="marked",
        task_display_name="list marked keys",
        doc_md="Lists keys of which an earlier key that came late keeps some pairs, unless they are held, blocked or "
        "were worked on in the last hours; at most as many as runs of a Dag may be active.",
        what="ingest",
        quiet_hours=_QUIET_HOURS,
        most=schedule().active_runs,
    )
    TriggerDagRunOperator.partial(
        task_id="ingest_again",
        task_display_name="ingest again",
        doc_md="Starts ingest for a marked key, one after the other in the order of the keys. Fails while ingest is "
        "paused.",
        map_index_template="{{ task.conf['key'] }}",
        trigger_dag_id=dag_id("ingest"),
        trigger_run_id="marked__{{ task.conf['key'] }}__{{ run_id }}",
        skip_when_already_exists=True,  # a retry of this task
        fail_when_dag_is_paused=True,  # else each day adds runs that wait
        max_active_tis_per_dagrun=1,
    ).expand(conf=marked.output.map(form))
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
