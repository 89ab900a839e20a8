"""Settings of the Dags: schedule, time limits, retries, approval."""

from typing import Any

from kale_tasks.settings.section import Section, runtime


class Pools(Section):
    """The Airflow pools of heavy tasks, by what each of them bounds."""

    gpu: str = runtime("Tasks that need a GPU; a slot for each machine with GPUs.")
    spark: str = runtime("Ingest; one slot, as a key is compared with the keys before it.")
    fetch: str = runtime("Tasks that fetch images.")


class ExecutorConfig(Section):
    """What the executor must know of a task, such as `{pod_template_file: gpu.yaml}` or `{pod_override: {...}}`."""

    gpu: dict[str, Any] = runtime("For tasks of the pool `gpu`.")
    spark: dict[str, Any] = runtime("For tasks of the pool `spark`.")
    fetch: dict[str, Any] = runtime("For tasks of the pool `fetch`.")
    other: dict[str, Any] = runtime("For all other tasks.")


class Schedule(Section):
    """How Airflow runs the pipeline."""

    prefix: str = runtime(
        "What the names of Dags and assets begin with. Two deployments in one Airflow need two.",
        pattern=r"^[a-z][a-z0-9_]*$",
    )
    connection: str = runtime("Connection of the type `KALE` that tasks use; if there is none, the environment holds.")
    pools: Pools
    executor_config: ExecutorConfig
    gpu_tasks: int = runtime(
        "Most tasks into which a step that needs a GPU is divided for a key: the slots of the pool `gpu`. Each task "
        "loads its model once.",
        ge=1,
    )
    active_runs: int = runtime("Runs of a Dag that may be active at once, also those that wait for a person.", ge=1)
    cron: str = runtime("When ingest of a key starts, as cron; the key is the day before: the one that has ended.")
    start: str = runtime("First key of a catch-up, as YYYY-MM-DD.")
    catchup: bool = runtime("Whether Airflow makes all keys since `start` by itself.")
    landing_wait_hours: float = runtime("How long to wait for landing files before the day counts as empty.", ge=0)
    landing_poll_seconds: float = runtime("How often to look for landing files.", gt=0)
    landing_quiet_minutes: float = runtime(
        "How long landing files that nothing marks as complete must not have changed.", ge=0
    )
    recipes: list[str] = runtime("Recipes with Dags of their own; empty: the one of `caption.recipe`.")
    distill_cron: str = runtime("When to consider a distillation even without new captions, as cron.")
    distill_new_rows: int = runtime(
        "New stage-1 captions since the last student after which a new one is trained.", ge=1
    )
    holdout: bool = runtime(
        "Whether the Dag that trains a student has the holdout captioned before, until there are `distill.gate.rows` "
        "captions to judge it by."
    )
    publish_student: bool = runtime(
        "Whether the Dag that trains a student publishes it to `publish.model_target` once it is promoted."
    )
    approve: bool = runtime("Whether a person must approve each release before it is published.")
    ask: bool = runtime("Whether a person is asked about a run that failed its checks; else its task fails at once.")
    question_hours: float = runtime("Hours after which an unanswered question counts as a no.", gt=0)
    python: str | None = runtime("Interpreter of the steps; empty: the one that runs Airflow.")
    retries: int = runtime("Retries of failures that may be temporary.", ge=0)
    retry_minutes: float = runtime("Pause before the first retry; doubles with each retry.", gt=0)
    task_hours: float = runtime("Time limit of one task.", gt=0)
    distill_tasks: int = runtime("Tasks of `task_hours` over which a training may go on.", ge=1)
    deadline_hours: float = runtime("Time after which a Dag run counts as late and `on_late` is called.", gt=0)
    on_failure: str | None = runtime("Dotted name of a callable that Airflow calls with the context of a failed task.")
    on_late: str | None = runtime("Dotted name of a coroutine function that Airflow calls when a run is late.")
    executor: str | None = runtime("Executor of the tasks that need a GPU, as named in Airflow; empty: the default.")
    queue: str | None = runtime("Queue of the tasks that need a GPU; empty: the executor's default.")
