"""Runs actions of Great Expectations after a check: Slack, email, Teams, a webhook, by the setting `quality.actions`.

Importing it imports Great Expectations, so it is imported when there are actions.
"""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from threading import Thread
from typing import Any, Literal

import requests
from great_expectations.checkpoint import Checkpoint, CheckpointResult
from great_expectations.checkpoint.actions import (
    _VALIDATION_ACTION_REGISTRY as REGISTRY,  # the only way to make an action by its type
)
from great_expectations.checkpoint.actions import ActionContext, NotifyOn, ValidationAction, should_notify
from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult
from great_expectations.core.run_identifier import RunIdentifier
from great_expectations.data_context.types.resource_identifiers import (
    ExpectationSuiteIdentifier,
    ValidationResultIdentifier,
)
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from great_expectations.expectations.metadata_types import FailureSeverity

from kale_tasks.errors import BadConfig
from kale_tasks.quality.checkpoint import open_context
from kale_tasks.quality.verdict import CheckResult

FIGURES = "figures (plain code, no expectations)"
_SECONDS = 30.0  # most that an action may take: those of Great Expectations wait without a limit
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_SECRET = re.compile(r"webhook|token|password|api_key|routing_key")
_LOG = logging.getLogger(__name__)


class WebhookAction(ValidationAction):
    """Posts how a check ended as JSON: name, success, and a line for each problem."""

    type: Literal["webhook"] = "webhook"
    url: str
    notify_on: NotifyOn = "failure"

    def run(self, checkpoint_result: CheckpointResult, action_context: ActionContext | None = None) -> dict[str, Any]:
        """Post it, if the outcome is one to notify on."""
        success = bool(checkpoint_result.success)
        worst = self._get_max_severity_failure_from_checkpoint_result(checkpoint_result)
        if not should_notify(success=success, notify_on=self.notify_on, max_severity=worst):
            return {"webhook_result": "none required"}
        found: list[Any] = list(checkpoint_result.run_results.values())
        lines: list[str] = next(one.meta["lines"] for one in found if "lines" in one.meta)
        message: Any = {"name": checkpoint_result.name, "success": success, "text": "\n".join(lines)}
        requests.post(self.url, json=message, timeout=_SECONDS / 2).raise_for_status()
        return {"webhook_result": "delivered"}


def open_actions(given: Sequence[Mapping[str, Any]]) -> list[ValidationAction]:
    """Make the configured actions. Raises BadConfig if one cannot be used, before anything is checked."""
    return [_opened(dict(one)) for one in given]


def notify(actions: Sequence[ValidationAction], result: CheckResult, validated: CheckpointResult | None) -> None:
    """Run the actions on all outcomes. One that fails or takes too long is logged by its name, and changes nothing."""
    found = _with_figures(result, validated)
    for action in actions:
        if problem := _attempt(action, found):
            _LOG.warning("The action '%s' of quality.actions failed: %s.", action.name, problem)


def _opened(given: dict[str, Any]) -> ValidationAction:
    kind = str(given.get("type"))
    place = f"quality.actions: {kind}"
    if kind not in (known := sorted(REGISTRY._registered_actions)):
        raise BadConfig(f"{place} is no action. Known types: {', '.join(known)}.")
    if bare := [name for name, value in given.items() if _SECRET.search(name) and not _VARIABLE.search(str(value))]:
        raise BadConfig(f"{place}: put {bare[0]} into an environment variable, and name it here as ${{VARIABLE}}.")
    values = {name: _resolved(place, value) for name, value in given.items()}
    try:
        return REGISTRY.get(kind)(**{"name": kind, **values})
    except ValueError as error:  # of pydantic; its message may have values, which may be secrets
        wrong = {str(name) for one in getattr(error, "errors", list)() for name in one["loc"]}
        raise BadConfig(f"{place} cannot be used. Look at: {', '.join(sorted(wrong)) or 'its options'}.") from None


def _resolved(place: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if missing := [name for name in _VARIABLE.findall(value) if name not in os.environ]:
        raise BadConfig(f"{place} needs the environment variable {missing[0]}. Set it, or remove the action.")
    return _VARIABLE.sub(lambda match: os.environ[match[1]], value)


def _attempt(action: ValidationAction, found: CheckpointResult) -> str:
    problems = [f"no end after {_SECONDS:.0f} s"]

    def act() -> None:
        try:
            done = action.run(checkpoint_result=found, action_context=None)
            # The actions of Great Expectations hide errors of the network, and return None in their place.
            problems[:] = ["it was not delivered"] if None in (done or {}).values() else []
        except Exception as error:  # whatever a library raises; its message may have the address, which may be a secret
            problems[:] = [type(error).__name__]

    thread = Thread(target=act, daemon=True)
    thread.start()
    thread.join(_SECONDS)
    return "".join(problems[:1])


def _with_figures(result: CheckResult, validated: CheckpointResult | None) -> CheckpointResult:
    """Return a Checkpoint's result that has the figures too, so that messages count every check."""
    open_context()  # actions look for one
    name = f"{result.table} {result.partition}"
    run = RunIdentifier(run_name=name.replace("/", " "), run_time=datetime.now(UTC))
    figures = ValidationResultIdentifier(ExpectationSuiteIdentifier(FIGURES), run, batch_identifier="figures")
    return CheckpointResult(
        run_id=run,
        run_results={**(validated.run_results if validated else {}), figures: _figures(result)},
        checkpoint_config=Checkpoint(name=name, validation_definitions=[]),
        success=not (result.failed or result.broken or result.warnings),
    )


def _figures(result: CheckResult) -> ExpectationSuiteValidationResult:
    found = [
        ExpectationValidationResult(
            success=one.status == "passed",
            expectation_config=ExpectationConfiguration(
                type="figure", kwargs={"figure": one.name}, severity=FailureSeverity(one.severity), description=one.says
            ),
            result={"observed_value": one.seen},
        )
        for one in result.checks
        if not one.suite and one.status != "skipped"
    ]
    passed = sum(bool(one.success) for one in found)
    counts = {"evaluated_expectations": len(found), "successful_expectations": passed}
    return ExpectationSuiteValidationResult(
        success=passed == len(found),
        results=found,
        suite_name=FIGURES,
        statistics={**counts, "unsuccessful_expectations": len(found) - passed},
        meta={"lines": result.lines},
    )
