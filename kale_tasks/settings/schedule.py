"""Settings of the Dags: schedule, time limits, retries, approval."""

from kale_tasks.settings.section import Section, runtime


class Schedule(Section):
    """How Airflow runs the pipeline."""

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
    approve: bool = runtime("Whether a person must approve each release before it is published.")
    python: str | None = runtime("Interpreter of the steps; empty: the one that runs Airflow.")
    retries: int = runtime("Retries of failures that may be temporary.", ge=0)
    retry_minutes: float = runtime("Pause before the first retry; doubles with each retry.", gt=0)
    task_hours: float = runtime("Time limit of one task.", gt=0)
    deadline_hours: float = runtime("Time after which a Dag run counts as late and `on_late` is called.", gt=0)
    on_failure: str | None = runtime("Dotted name of a callable that Airflow calls with the context of a failed task.")
    on_late: str | None = runtime("Dotted name of a coroutine function that Airflow calls when a run is late.")
    executor: str | None = runtime("Executor of the heavy tasks, as named in Airflow; empty: the default.")
    queue: str | None = runtime("Queue of the tasks that need a GPU; empty: the executor's default.")
