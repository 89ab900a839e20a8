"""What all Dags share: owner, retries by the kind of failure, time limits, and whom to tell."""

from collections.abc import Callable
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from kale_tasks.airflow.settings import schedule

_ERRORS = "kale_tasks.errors"


def dag_arguments(*tags: str) -> dict[str, Any]:
    """The arguments of every Dag."""
    of = schedule()
    return {
        "start_date": datetime.fromisoformat(of.start),
        "catchup": False,
        "tags": ["kale", *tags],
        "default_args": _task_arguments(),
        "deadline": _deadline(),
    }


def _task_arguments() -> dict[str, Any]:
    of = schedule()
    return {
        "owner": "kale",
        "retries": of.retries,
        "retry_delay": timedelta(minutes=of.retry_minutes),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(hours=1),
        "retry_policy": _by_kind_of_failure(),
        "execution_timeout": timedelta(hours=of.task_hours),
        "on_failure_callback": _named(of.on_failure),
    }


def _named(name: str | None) -> Callable[..., Any] | None:
    if not name:
        return None
    module, _, attribute = name.rpartition(".")
    found: Callable[..., Any] = getattr(import_module(module), attribute)
    return found


def _by_kind_of_failure() -> ExceptionRetryPolicy:
    heals: list[type[BaseException] | str] = [f"{_ERRORS}.Transient"]
    never: list[type[BaseException] | str] = [f"{_ERRORS}.{name}" for name in ("BadConfig", "BadData", "Conflict")]
    return ExceptionRetryPolicy(
        rules=[
            RetryRule(exception=heals, action=RetryAction.RETRY, reason="This heals: try again later."),
            RetryRule(exception=never, action=RetryAction.FAIL, reason="Trying again cannot help."),
        ]
    )


def _deadline() -> DeadlineAlert | None:
    of = schedule()
    if not of.on_late:
        return None
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(hours=of.deadline_hours),
        callback=AsyncCallback(of.on_late),
    )
