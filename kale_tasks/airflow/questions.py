"""Operators that ask a person, as a Required Action in Airflow, and wait for the answer without holding a worker.

The text of a question does not change once it was asked, not even if its task is cleared and asks again. So each
question names what it is about in a field of its form, the answer brings that back, and only that is acted on.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk import Param
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import AirflowFailException

from kale_tasks.airflow.command_operator import CommandOperator, page
from kale_tasks.airflow.dag_parts import schedule
from kale_tasks.errors import Blocked

Fields = ParamsDict | Mapping[str, Any] | None
ACCEPT, LEAVE = "Accept", "Leave blocked"
_RUN, _REASON, _RELEASE = "run", "reason", "release"


class AskingOperator(CommandOperator, HITLOperator):
    """Does what `judge` does. If a run failed its checks, asks a person whether to accept it, and why."""

    template_fields: Sequence[str] = (*CommandOperator.template_fields, *HITLOperator.template_fields)

    def __init__(self, *, step: str, params: Fields = None, **kwargs: Any) -> None:
        super().__init__(
            subject=f"{step}: accept a run that failed its checks?",
            options=[ACCEPT, LEAVE],
            params=_asking(params, reason="Why the rows are good enough.", run="The accepted run. Leave it as it is."),
            response_timeout=timedelta(hours=schedule().question_hours),
            **kwargs,
        )
        self.step = step

    @abstractmethod
    def judge(self, context: Any) -> Any:
        """Do the work of the task. Raises Blocked if a run failed its checks."""

    @abstractmethod
    def after_acceptance(self, context: Any, verdict: Mapping[str, Any]) -> Any:
        """Finish the task, after a person has accepted the run of this verdict."""

    def execute(self, context: Any) -> Any:
        """Do the work, or ask."""
        try:
            return self.judge(context)
        except Blocked as blocked:
            failing = f"failing/{quote(self.step, safe='')}"
            self.log.error("The report on this key: %s", self.report)
            self.log.error("The rows that fail: %s", self.address(failing, ".csv"))
            if not schedule().ask:
                raise
            report, rows = page("report", self.key), f"{page(failing, self.key)}.csv"
            self.body = f"{blocked}\n\n[Report on {self.key}]({report}), [rows that fail]({rows})"
            self.params[_RUN] = blocked.fingerprint
            return HITLOperator.execute(self, context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Accept the run if the person said so."""
        if "error" in event:
            hours = f"{schedule().question_hours:g}"
            raise AirflowFailException(f"Nobody answered within {hours} hours. Clear this task to be asked again.")
        answer = event["params_input"] or {}
        who = (event["responded_by_user"] or {}).get("name") or "a person"
        reason = str(answer.get(_REASON) or "").strip()
        if event["chosen_options"] != [ACCEPT]:
            raise AirflowFailException(f"{self.key} stays blocked, says {who}: {reason or 'no reason given'}.")
        if not reason or not answer.get(_RUN):
            raise AirflowFailException("To accept a run, give a reason. Clear this task to be asked again.")
        words = ["check", self.step, "--fingerprint", answer[_RUN], "--accept", f"{reason} ({who})"]
        return self.after_acceptance(context, self.kale(context, words))


class ApproveOperator(CommandOperator, ApprovalOperator):
    """Asks a person to approve a release. A refusal, or no answer in time, skips the later tasks."""

    template_fields: Sequence[str] = (*CommandOperator.template_fields, *ApprovalOperator.template_fields)

    def __init__(self, *, params: Fields = None, **kwargs: Any) -> None:
        super().__init__(
            params=_asking(params, release="The approved release. Leave it as it is."),
            defaults=ApprovalOperator.REJECT,
            response_timeout=timedelta(hours=schedule().question_hours),
            **kwargs,
        )

    def execute(self, context: Any) -> Any:
        """Show the review of the release and wait; Airflow calls `execute_complete` with the answer."""
        review = self.kale(context, ["release", "review"])
        self.body = f"[Report on this release](/kale/report/{review['report']})\n\n{review['text']}"
        self.params[_RELEASE] = review["version"]
        return ApprovalOperator.execute(self, context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> str:
        """Return the version of the release that the person saw and approved."""
        ApprovalOperator.execute_complete(self, context, event)
        version: str = (event["params_input"] or {}).get(_RELEASE) or ""
        if event["chosen_options"] == [ApprovalOperator.APPROVE] and not version:
            raise AirflowFailException("The answer does not name the release. Clear this task to be asked again.")
        return version


def _asking(of_dag: Fields, **fields: str) -> ParamsDict:
    """Return the fields of a Dag's form with those of a question, each with its description."""
    params = of_dag if isinstance(of_dag, ParamsDict) else ParamsDict(dict(of_dag or {}))
    for name, description in fields.items():
        params[name] = Param("", type="string", title=name.capitalize(), description=description, source="task")
    return params
