"""Questions to a person: a failed check, and a release. Only what the person saw is acted on."""

from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.standard.operators import hitl
from airflow.sdk.exceptions import AirflowFailException, TaskAwaitingInput

from kale_tasks.airflow.dag_parts import schedule
from kale_tasks.airflow.operators import CheckOperator, RunOperator
from kale_tasks.airflow.questions import ApproveOperator
from kale_tasks.errors import BadData, Blocked

KEY, RUN = "2026-11-01", "0123456789abcdef0123"
WRONG = "critical: Captions are decoded correctly: saw 12.2 %, wanted at most 1.0 % (mojibake_share)"
VERDICT = {
    "table": "texts", "partition": f"{KEY}/pass=dense", "status": "failed", "failed": ["mojibake_share"],
    "warnings": [], "rows": 9, "seconds": 1.0, "lines": ["1 passed, 1 failed", WRONG],
    "accepted": {"why": "a test"},
}  # fmt: skip
ACCOUNT = {"rows": 9, "quarantined": 0}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """The questions that reached Airflow."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **question: found.append(question))
    monkeypatch.setenv("KALE_SCHEDULE__ASK", "true")
    schedule.cache_clear()
    yield found
    schedule.cache_clear()


def context() -> dict[str, Any]:
    return {"task_instance": SimpleNamespace(id="ti"), "ti": SimpleNamespace(), "dag_run": SimpleNamespace()}


def commands(monkeypatch: pytest.MonkeyPatch, operator: Any, *answers: Any) -> list[list[str]]:
    """Let the commands of an operator end so; the list of their words."""
    lines, left = list[list[str]](), list(answers)

    def run(context: Any, words: list[str]) -> Any:
        lines.append(words)
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(operator, "kale", run)
    return lines


def answer(choice: str, **fields: str) -> dict[str, Any]:
    user = {"id": "7", "name": "ann"}
    return {"chosen_options": [choice], "params_input": fields, "responded_at": datetime.now(UTC), "timedout": False,
            "responded_by_user": user}  # fmt: skip


def check() -> CheckOperator:
    return CheckOperator(task_id="check", step="dense", key=KEY, fingerprint=RUN, overrides={})


def test_a_failed_check_asks_and_names_its_run(asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    operator = check()
    commands(monkeypatch, operator, Blocked("dense is blocked: mojibake_share is 0.12", RUN))
    with pytest.raises(TaskAwaitingInput):
        operator.execute(context())
    (question,) = asked
    assert question["options"] == ["Accept", "Leave blocked"]
    assert "mojibake_share is 0.12" in question["body"] and f"(/kale/report/{KEY})" in question["body"]
    assert f"(/kale/failing/dense/{KEY}.csv)" in question["body"]
    assert question["params"]["run"]["value"] == RUN
    assert question["params"]["reason"]["value"] == ""


def test_accepting_accepts_the_run_of_the_question_for_the_reason_given(
    asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = check()
    lines = commands(monkeypatch, operator, VERDICT)
    result = operator.execute_complete(context(), answer("Accept", run="seen", reason="a foreign feed"))
    assert lines == [["check", "dense", "--fingerprint", "seen", "--accept", "a foreign feed (ann)"]]
    assert result["failed"] == ["mojibake_share"]


def test_a_whole_step_goes_on_after_its_run_was_accepted(
    asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = RunOperator(task_id="ingest", step="ingest", key=KEY, again="", overrides={})
    lines = commands(monkeypatch, operator, Blocked("blocked", RUN), VERDICT, ACCOUNT)
    with pytest.raises(TaskAwaitingInput):
        operator.execute(context())
    assert operator.execute_complete(context(), answer("Accept", run=RUN, reason="fine")) == ACCOUNT
    assert [line[0] for line in lines] == ["run", "check", "run"]


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (answer("Leave blocked", run=RUN, reason="broken feed"), "stays blocked, says ann: broken feed"),
        (answer("Accept", run=RUN, reason="  "), "give a reason"),
        (answer("Accept"), "give a reason"),
        ({"error": "late", "error_type": "timeout"}, "Nobody answered within 72 hours"),
    ],
)
def test_any_other_answer_leaves_the_key_blocked(
    asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, event: dict[str, Any], said: str
) -> None:
    operator = check()
    lines = commands(monkeypatch, operator)
    with pytest.raises(AirflowFailException, match=said):
        operator.execute_complete(context(), event)
    assert not lines


def test_bad_data_that_nobody_can_accept_asks_nobody(
    asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = check()
    commands(monkeypatch, operator, BadData("the key is held"))
    with pytest.raises(BadData, match="held"):
        operator.execute(context())
    assert not asked


def test_nobody_is_asked_where_the_settings_say_so(
    asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KALE_SCHEDULE__ASK", "false")
    schedule.cache_clear()
    operator = check()
    commands(monkeypatch, operator, Blocked("blocked", RUN))
    with pytest.raises(Blocked):
        operator.execute(context())
    assert not asked


def test_the_log_of_a_check_says_what_was_seen_and_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    operator = check()
    commands(monkeypatch, operator, {**VERDICT, "status": "warned", "accepted": None})
    operator.execute(context())
    text = capsys.readouterr().out
    assert "1 passed, 1 failed" in text
    assert WRONG in text
    assert f"/kale/report/{KEY}" in text


def approve() -> ApproveOperator:
    return ApproveOperator(task_id="approve", subject="Publish?", key="all", overrides={})


def test_an_approval_returns_the_release_that_the_person_saw(
    asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = approve()
    commands(monkeypatch, operator, {"report": "release-v2", "version": "v2", "text": "the card"})
    with pytest.raises(TaskAwaitingInput) as parked:
        operator.execute(context())
    assert asked[0]["params"]["release"]["value"] == "v2" and asked[0]["defaults"] == ["Reject"]
    assert parked.value.timeout.total_seconds() == 72 * 3600
    # The text of a question that was asked before does not change: its release is what the answer brings back.
    assert approve().execute_complete(context(), answer("Approve", release="v1")) == "v1"
    with pytest.raises(AirflowFailException, match="does not name the release"):
        approve().execute_complete(context(), answer("Approve"))
