"""What the commit of a key announces: its rows with their verdict; a preview announces nothing."""

from typing import Any

import pytest
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowSkipException
from airflow.sdk.execution_time.context import OutletEventAccessors

from kale_tasks.airflow.dag_parts import step_asset
from kale_tasks.airflow.flow_operators import AnnounceOperator
from kale_tasks.airflow.operators import CommitOperator

KEY = "2026-11-01"
FACTS = {"rows": 5, "fingerprint": "f", "verdict": "warned"}
RESULT = {**FACTS, "table": "pairs", "inputs": {}, "quarantined": 0}


class Committed(CommitOperator):
    """The commit of a key that succeeds."""

    def kale(self, context: Any, arguments: Any) -> Any:
        return RESULT


def commit(**overrides: str) -> CommitOperator:
    known = {"fingerprint": "f", "base": "", "key": KEY, "overrides": overrides}
    return Committed(task_id="commit", step="ingest", outlets=[step_asset("ingest")], **known)


@pytest.mark.parametrize("overrides", [{"limit": "10"}, {"preview": "mine"}])
def test_the_commit_of_a_preview_is_skipped_so_that_its_asset_is_not_emitted(overrides: dict[str, str]) -> None:
    with pytest.raises(AirflowSkipException, match="is not announced"):
        commit(**overrides).execute({})


def test_the_event_of_a_commit_says_which_key_how_many_rows_and_with_which_verdict() -> None:
    events = OutletEventAccessors()
    assert commit(limit="", preview="").execute({"outlet_events": events}) == RESULT
    event = events[step_asset("ingest")]
    assert (event.partition_keys, event.extra) == ({KEY}, FACTS)


class Pending(AnnounceOperator):
    """An announcement while one key lacks images."""

    def kale(self, context: Any, arguments: Any) -> Any:
        return {"images": ["2026-11-02"]}


@pytest.mark.parametrize(("key", "announced"), [("2026-11-02", {"2026-11-02"}), (KEY, set()), (None, {"2026-11-02"})])
def test_an_announcement_without_a_key_succeeds_and_emits_nothing(key: str | None, announced: set[str]) -> None:
    asset, events = Asset("ready"), OutletEventAccessors()
    operator = Pending(task_id="announce", what="images", outlet=asset, key=key)
    assert operator.execute({"outlet_events": events}) == sorted(announced)
    assert events[asset].partition_keys == announced
    assert operator.outlets == ([asset] if announced else [])  # for an outlet that is left, Airflow emits an event
