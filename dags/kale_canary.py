"""Tries another recipe or engine on a share of a key in a preview, applies it to the key, or drops it.

Started by a person with a form, or from the page of canaries, which compares both.
"""

from airflow.sdk import DAG

from kale_tasks.airflow.command_operator import CommandOperator
from kale_tasks.airflow.dag_parts import dag_arguments, dag_id, heavy_task
from kale_tasks.airflow.forms import canary_form

with DAG(
    dag_id("canary"),
    schedule=None,
    dag_display_name="KALE: canary",
    description="Try a recipe on a share of a key, beside its captions.",
    doc_md=__doc__,
    params=canary_form(),
    **dag_arguments("captions") | {"max_active_runs": 1},
):
    CommandOperator(
        task_id="canary",
        doc_md="Starts, applies or drops a canary. The captions of the key change only when it is applied.",
        arguments=[
            "canary",
            "{{ params['action'] }}",
            "--name",
            "{{ params['name'] }}",
            "{{ '--key=' ~ params['key'] if params['action'] == 'start' else '--json' }}",
            "{{ '--share=' ~ params['share'] if params['action'] == 'start' else '--json' }}",
            "{{ '--recipe=' ~ params['recipe'] if params['action'] == 'start' and params['recipe'] else '--json' }}",
        ],
        key=None,
        **heavy_task("gpu"),
        overrides={"caption.engine": "{{ params['engine'] or '' if params['action'] == 'start' else '' }}"},
    )
