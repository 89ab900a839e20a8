"""Runs a Checkpoint of Great Expectations on rows in memory or in Spark, and takes every text of a row out of it."""

import logging
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from numbers import Number
from typing import TYPE_CHECKING, Any

import kale_tasks.quality.light_import  # noqa: F401 - before Great Expectations

if TYPE_CHECKING:
    from great_expectations.checkpoint import CheckpointResult
    from great_expectations.expectations.expectation import Expectation

_COUNTS_ONLY = {"result_format": "BASIC", "partial_unexpected_count": 0}  # no row gets into a result
_UIDS = {"result_format": "COMPLETE", "unexpected_index_column_names": ["uid"]}
_ERROR = re.compile(r"^([A-Za-z_][\w.]{0,80}(?:[Ee]rror|Exception))(?::|$)", re.M)

Suites = Mapping[str, Sequence["Expectation"]]


def open_context() -> Any:
    """Open a context in memory that is silent and sends nothing."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


def validate(name: str, suites: Suites, frame: Any, engine: str) -> "CheckpointResult":
    """Validate a pandas or Spark data frame against suites. The result has counts and figures, no value of a row."""
    result = _run(name, suites, frame, engine, _COUNTS_ONLY)
    for validated in result.run_results.values():
        for one in validated.results:
            one.success = bool(one.success)
            one.result = {key: value for key, value in (one.result or {}).items() if isinstance(value, Number)}
            error = _error(one.exception_info)
            one.exception_info = {
                "raised_exception": bool(error),
                "exception_traceback": None,
                "exception_message": error,
            }
    return result


def unexpected_uids(name: str, suites: Suites, frame: Any) -> dict[str, list[str | None]]:
    """Return the uids of the rows that break each expectation, by its name."""
    result = _run(name, suites, frame, "pandas", _UIDS)
    found: list[Any] = [one for validated in result.run_results.values() for one in validated.results]
    return {
        one.expectation_config.meta["name"]: [row["uid"] for row in one.result.get("unexpected_index_list") or ()]
        for one in found
    }


def _run(name: str, suites: Suites, frame: Any, engine: str, result_format: Any) -> "CheckpointResult":
    import great_expectations as gx
    from great_expectations.core.run_identifier import RunIdentifier

    context = open_context()
    source: Any = (
        context.data_sources.add_spark("kale", persist=False)
        if engine == "spark"
        else context.data_sources.add_pandas("kale")
    )
    rows = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("rows")
    definitions = []
    for suite, expectations in suites.items():
        added = context.suites.add(gx.ExpectationSuite(name=suite, expectations=list(expectations)))
        definitions.append(
            context.validation_definitions.add(gx.ValidationDefinition(name=suite, data=rows, suite=added))
        )
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(name=name, validation_definitions=definitions, result_format=result_format)
    )
    # Data Docs make a path of the name of the run.
    run = RunIdentifier(run_name=name.replace("/", " "), run_time=datetime.now(UTC))
    result: CheckpointResult = checkpoint.run(batch_parameters={"dataframe": frame}, run_id=run)
    return result


def _error(info: Mapping[str, Any] | None) -> str | None:
    """Return the kind of error that an expectation raised, or None. Its message may have values of rows."""
    # Either the info of the expectation itself, or one entry for each metric that raised.
    entries = [info or {}] if "raised_exception" in (info or {}) else list((info or {}).values())
    raised = [str(entry.get("exception_traceback") or "") for entry in entries if entry.get("raised_exception")]
    return (_ERROR.findall(raised[0]) or ["error"])[-1] if raised else None
