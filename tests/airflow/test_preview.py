"""Tasks of a preview announce nothing."""

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from kale_tasks.airflow.dag_parts import step_asset
from kale_tasks.airflow.operators import CheckOperator

RESULT = {"status": "passed", "failed": [], "warnings": [], "rows": 5, "table": "pairs", "seconds": 0.1}


class Checked(CheckOperator):
    """The check of a key that has passed."""

    def kale(self, context: Any, arguments: Any) -> Any:
        return RESULT


def check(**overrides: str) -> CheckOperator:
    return Checked(
        task_id="check", step="ingest", key="2026-11-01", overrides=overrides, outlets=[step_asset("ingest")]
    )


@pytest.mark.parametrize("overrides", [{"limit": "10"}, {"preview": "mine"}])
def test_the_check_of_a_preview_is_skipped_so_that_its_asset_is_not_emitted(overrides: dict[str, str]) -> None:
    with pytest.raises(AirflowSkipException, match="is not announced"):
        check(**overrides).execute({})


def test_the_check_of_the_real_lake_succeeds_and_emits_its_asset() -> None:
    assert check(limit="", preview="").execute({}) == RESULT
