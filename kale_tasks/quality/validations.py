"""Validation results of Great Expectations, stored beside the verdict: counts and figures, never a value of a row."""

import json
from typing import TYPE_CHECKING, Any

import kale_tasks.quality.light_import  # noqa: F401 - before Great Expectations
from kale_tasks.lake.storage.base import Storage

if TYPE_CHECKING:
    from great_expectations.checkpoint import CheckpointResult
    from great_expectations.core import ExpectationSuiteValidationResult


def validations_path(seal_id: str) -> str:
    """Return the path of the validation results of a sealed run, relative to the warehouse."""
    return f"validations/{seal_id}.json"


def store(storage: Storage, seal_id: str, validated: "CheckpointResult | None") -> None:
    """Store the results of a Checkpoint, replacing earlier ones of the same sealed run."""
    if validated:
        found: list[Any] = list(validated.run_results.values())
        results = [one.to_json_dict() for one in found]
        storage.put(validations_path(seal_id), json.dumps(results, ensure_ascii=False).encode())


def read(storage: Storage, seal_id: str) -> "list[ExpectationSuiteValidationResult]":
    """Read the results for each suite of the Checkpoint of a sealed run; none if it was never checked."""
    from great_expectations.core.expectation_validation_result import expectationSuiteValidationResultSchema

    try:
        stored = json.loads(storage.read(validations_path(seal_id)))
    except FileNotFoundError:
        return []
    return [expectationSuiteValidationResultSchema.load(one) for one in stored]
