"""What all Dags share: settings, names, assets, and arguments such as retries, time limits and callbacks."""

import os
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache, reduce
from importlib import import_module
from operator import or_
from pathlib import Path
from typing import Any, NamedTuple

from airflow.sdk import Asset, ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from kale_tasks.contract.registry import step_spec
from kale_tasks.errors import BadConfig
from kale_tasks.recipes.files import recipe_name
from kale_tasks.settings import load
from kale_tasks.settings.schedule import Schedule

_ERRORS = "kale_tasks.errors"
_PROFILE = "kale_profile.yaml"
# Settings that the form of a run may set; empty if the Dag's form lacks the field.
OVERRIDES = {"limit": "{{ params.get('limit') or '' }}", "preview": "{{ params.get('preview') or '' }}"}


def _use_profile_of_bundle() -> None:
    """Take the settings of these Dags and their tasks from the profile in their Dag bundle, if there is one.

    Airflow puts the folder of a bundle on the path of the processes that parse and run its Dags.
    """
    found = next((path for folder in sys.path if folder and (path := Path(folder, _PROFILE)).is_file()), None)
    if found:
        os.environ["KALE_PROFILE"] = str(found)


_use_profile_of_bundle()


@cache
def schedule() -> Schedule:
    """Load the settings of the Dags, once per process."""
    return load().settings.schedule


def dag_id(name: str) -> str:
    """Return the id of a Dag of this deployment."""
    return f"{schedule().prefix}_{name}"


def _asset(name: str) -> Asset:
    prefix = schedule().prefix
    return Asset(name=f"{prefix}/{name}", uri=f"kale://{prefix}/{name}", group=prefix)


# Announcements: emitted once the lake has everything that the next Dag needs. Every event of an asset carries a key.
def release_ready() -> Asset:
    """The announcement that a key has captions that no release contains."""
    return _asset("release_ready")


def distill_tick() -> Asset:
    """The announcement that it is time to consider a distillation."""
    return _asset("distill_tick")


class DagRecipe(NamedTuple):
    """A recipe with Dags of its own."""

    name: str  # as in the settings
    suffix: str  # of the names of its Dags
    title: str  # behind the titles of its Dags

    @property
    def overrides(self) -> dict[str, str]:
        """The overrides with which its tasks run."""
        return {**OVERRIDES, "caption.recipe": self.name}

    @property
    def stage2_ready(self) -> Asset:
        """The announcement that a key lacks captions of its student."""
        return _asset(f"stage2_ready/{recipe_name(self.name)}")


@cache
def dag_recipes() -> list[DagRecipe]:
    """The recipes of `schedule.recipes`; without any, the configured one, whose Dags have plain names."""
    of = load().settings
    named = [DagRecipe(name, f"_{recipe_name(name)}", f" ({recipe_name(name)})") for name in of.schedule.recipes]
    return named or [DagRecipe(of.caption.recipe, "", "")]


def step_asset(step: str, recipe: str = "") -> Asset:
    """Return the asset that announces the rows of a step (of a recipe); BadConfig if the step has none."""
    name = step_spec(step, recipe).asset
    if name is None:
        raise BadConfig(f"The step '{step}' has no asset. Give its StepSpec one.")
    return _asset(name)


def captions_asset(*steps: str) -> Any:
    """Return the assets of some steps of every recipe, any of which starts a Dag."""
    return reduce(or_, [step_asset(step, recipe.name) for recipe in dag_recipes() for step in steps])


def dag_arguments(*tags: str) -> dict[str, Any]:
    """Return the arguments that every Dag takes."""
    of = schedule()
    return {
        "start_date": datetime.fromisoformat(of.start),
        "catchup": False,
        "max_active_runs": of.active_runs,
        "tags": [of.prefix, *tags],
        "default_args": _task_arguments(of),
        "deadline": _deadline(of),
    }


def heavy_task(pool: str | None) -> dict[str, Any]:
    """Return the arguments of a task of a pool; with those for its executor, if the settings have any.

    An executor or queue is left out unless it is configured: a Dag that names an unknown executor does not parse.
    """
    if not pool:
        return {}
    of = schedule()
    executor, queue = (of.executor, of.queue) if pool == "gpu" else (None, None)
    arguments = {"executor": executor, "queue": queue, "executor_config": _executor_config(of, pool)}
    named = getattr(of.pools, pool, pool)  # a step of another package may name a pool of its own
    return {"pool": named} | {name: value for name, value in arguments.items() if value}


def _executor_config(of: Schedule, kind: str) -> dict[str, Any]:
    config: dict[str, Any] = getattr(of.executor_config, kind, {})
    if "pod_override" not in config:
        return config
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator

    return {**config, "pod_override": PodGenerator.deserialize_model_dict(config["pod_override"])}


def _task_arguments(of: Schedule) -> dict[str, Any]:
    return {
        "owner": of.prefix,
        "retries": of.retries,
        "retry_delay": timedelta(minutes=of.retry_minutes),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(hours=1),
        "retry_policy": _retry_policy(),
        "execution_timeout": timedelta(hours=of.task_hours),
        "executor_config": _executor_config(of, "other"),
        "on_failure_callback": _import(of.on_failure),
    }


def _import(name: str | None) -> Callable[..., Any] | None:
    if not name:
        return None
    module, _, attribute = name.rpartition(".")
    found: Callable[..., Any] = getattr(import_module(module), attribute)
    return found


def _retry_policy() -> ExceptionRetryPolicy:
    retried: list[type[BaseException] | str] = [f"{_ERRORS}.Transient"]
    failed: list[type[BaseException] | str] = [f"{_ERRORS}.{name}" for name in ("BadConfig", "BadData", "Conflict")]
    return ExceptionRetryPolicy(
        rules=[
            RetryRule(exception=retried, action=RetryAction.RETRY, reason="The cause is temporary."),
            RetryRule(exception=failed, action=RetryAction.FAIL, reason="A retry cannot help."),
        ]
    )


def _deadline(of: Schedule) -> DeadlineAlert | None:
    if not of.on_late:
        return None
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(hours=of.deadline_hours),
        callback=AsyncCallback(of.on_late),
    )
