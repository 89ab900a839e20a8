"""Settings of the Dags: when they run, how long they wait, whom they ask."""

from kale_tasks.settings.section import Section, runtime


class Schedule(Section):
    """How Airflow runs the chain."""

    cron: str = runtime("When a key's ingest starts; the key is the run's date.")
    start: str = runtime("First key that catchup would make, as YYYY-MM-DD.")
    catchup: bool = runtime("Whether keys since `start` are made without being asked for.")
    landing_wait_hours: float = runtime(
        "How long to wait for a key's landing files before the day counts as empty.", ge=0
    )
    landing_poll_seconds: float = runtime("How often to look for landing files.", gt=0)
    distill_cron: str = runtime("When a distillation is considered although no captions came.")
    distill_new_rows: int = runtime(
        "New stage-1 captions since the last student that make a new one worth while.", ge=1
    )
    approve: bool = runtime("Whether a person approves each release before it is published.")
    python: str | None = runtime("Interpreter of the steps; empty: the one that runs Airflow.")
    retries: int = runtime("How often what can heal is tried again.", ge=0)
    retry_minutes: float = runtime("Pause before the first retry; it doubles.", gt=0)
    task_hours: float = runtime("Longest time one task may take.", gt=0)
    deadline_hours: float = runtime("A run of a Dag that takes longer calls `on_late`.", gt=0)
    on_failure: str | None = runtime("Dotted name of a callable that Airflow calls with the context of a failed task.")
    on_late: str | None = runtime("Dotted name of a coroutine function that Airflow calls when a run is late.")
    executor: str | None = runtime("Executor of the heavy tasks, by the name Airflow knows it by; empty: its default.")
    queue: str | None = runtime("Queue of the tasks that want a GPU; empty: the executor's default.")
