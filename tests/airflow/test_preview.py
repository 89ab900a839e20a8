"""Tasks of a preview announce nothing."""

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from kale_tasks.airflow.dag_parts import step_asset
from kale_tasks.airflow.operators import CommitOperator

RESULT = {"rows": 5, "table": "pairs", "inputs": {}}


class Committed(CommitOperator):
    """The commit of a key that succeeds."""

    def kale(self, context: Any, arguments: Any) -> Any:
        return RESULT


def commit(**overrides: str) -> CommitOperator:
    known = {"fingerprint": "f", "base": "", "key": "2026-11-01", "overrides": overrides}
    return Committed(task_id="commit", step="ingest", outlets=[step_asset("ingest")], **known)


@pytest.mark.parametrize("overrides", [{"limit": "10"}, {"preview": "mine"}])
def test_the_commit_of_a_preview_is_skipped_so_that_its_asset_is_not_emitted(overrides: dict[str, str]) -> None:
    with pytest.raises(AirflowSkipException, match="is not announced"):
        commit(**overrides).execute({})


def test_the_commit_in_the_real_lake_succeeds_and_emits_its_asset() -> None:
    assert commit(limit="", preview="").execute({}) == RESULT
