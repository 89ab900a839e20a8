"""The operators of a step's verbs, and the one that runs a whole step."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk.exceptions import AirflowSkipException, DagRunTriggerException

from kale_tasks.airflow import outcomes
from kale_tasks.airflow.command_operator import CommandOperator
from kale_tasks.airflow.dag_parts import heavy_task
from kale_tasks.airflow.questions import AskingOperator
from kale_tasks.contract.registry import step_spec
from kale_tasks.errors import Blocked, Conflict, Paused
from kale_tasks.lake.keys import ALL_KEYS

_PLANS = 4  # how often a step is planned before a conflict fails its task
# Named by the Dag run, so that a retry after the commit does not run a third time.
AGAIN = "{{ run_id if params.get('force') or params.get('redrive') else '' }}"


def again_words(request: str) -> list[str]:
    """The options that ask for a new run in the name of a request."""
    return ["--again", "--request", request] if request else []


class PlanOperator(CommandOperator):
    """Plans a step for a key and returns groups of chunks, over which `WorkOperator` is mapped.

    There are at most `tasks` groups; without it each chunk is one of its own.
    """

    template_fields: Sequence[str] = (*CommandOperator.template_fields, "again")

    def __init__(self, *, step: str, again: str = AGAIN, tasks: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step, self.again, self.tasks = step, again, tasks

    def execute(self, context: Any) -> list[list[int]]:
        """Plan, and push `fingerprint` and `base` for the later tasks."""
        made = self.kale(context, ["plan", self.step, *again_words(self.again)])
        context["ti"].xcom_push("fingerprint", made["fingerprint"])
        context["ti"].xcom_push("base", made["base"] or "")
        return in_groups([chunk["index"] for chunk in made["chunks"]], self.tasks)


def in_groups(chunks: Sequence[int], tasks: int | None) -> list[list[int]]:
    """Divide chunks into at most `tasks` groups of neighbours, whose sizes differ by at most one."""
    number = min(len(chunks), tasks or len(chunks))
    bounds = [len(chunks) * at // number for at in range(number + 1)] if number else []
    return [list(chunks[start:stop]) for start, stop in pairwise(bounds)]


class PlannedOperator(CommandOperator):
    """Runs a verb on the run that `PlanOperator` planned.

    On a conflict the Dag run clears itself and starts again, a few times. What is committed by then takes a moment;
    this step is planned again, from the lake as it is then, and its chunks are made in their pool.
    """

    template_fields: Sequence[str] = (*CommandOperator.template_fields, "fingerprint")
    step: str

    def __init__(self, *, fingerprint: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fingerprint = fingerprint

    def on_plan(self, context: Any, verb: str, *more: str) -> Any:
        """Run the command and return its JSON. Raises Conflict if the run has started again too often."""
        try:
            return self.kale(context, [verb, self.step, "--fingerprint", self.fingerprint, *more])
        except Conflict as conflict:
            run = context["dag_run"]
            if run.clear_number >= _PLANS - 1:
                raise
            self.log.warning("%s The Dag run starts again, to plan from the lake as it is now.", conflict)
            raise _cleared(run.dag_id, run.run_id) from conflict


def _cleared(dag: str, run: str) -> DagRunTriggerException:
    """Return the exception that makes Airflow clear a Dag run, the task that raises it included."""
    return DagRunTriggerException(
        trigger_dag_id=dag,
        dag_run_id=run,
        conf=None,
        reset_dag_run=True,
        skip_when_already_exists=False,
        wait_for_completion=False,
        allowed_states=[],
        failed_states=[],
        poke_interval=0,
        deferrable=False,
    )


class WorkOperator(PlannedOperator):
    """Makes the missing parts of some chunks. Where the work pauses until a time, it waits without a worker."""

    template_fields: Sequence[str] = (*PlannedOperator.template_fields, "chunks")

    def __init__(self, *, step: str, chunks: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step, self.chunks = step, chunks

    def execute(self, context: Any) -> Any:
        """Make the parts that do not exist yet."""
        try:
            done = self.on_plan(context, "work", *(word for chunk in self.chunks for word in ("--chunk", str(chunk))))
        except Paused as paused:
            if paused.resumes_at is None:
                raise AirflowSkipException(str(paused)) from None
            self.log.info("%s", paused)
            self.defer(trigger=DateTimeTrigger(paused.resumes_at), method_name="execute_complete")
        outcomes.worked(self.step, done)
        return done

    def execute_complete(self, context: Any, event: Any = None) -> Any:
        """Go on after a pause."""
        return self.execute(context)


class SealOperator(PlannedOperator):
    """Fixes the exact files of a run, once all its parts are made."""

    def __init__(self, *, step: str, **kwargs: Any) -> None:
        # A plan without chunks skips the work; the later tasks then find the committed run. A skipped plan skips all.
        super().__init__(trigger_rule="none_failed_min_one_success", **kwargs)
        self.step = step

    def execute(self, context: Any) -> Any:
        """Seal. A run that is sealed or committed already is left as it is."""
        return self.on_plan(context, "seal")


class CheckOperator(PlannedOperator, AskingOperator):
    """Checks a sealed run before it is committed. If that fails, the key keeps its rows, and a person is asked."""

    template_fields: Sequence[str] = (*AskingOperator.template_fields, "fingerprint")

    def judge(self, context: Any) -> Any:
        """Run the checks. The result names failed checks and warnings; the figures stay in the lake."""
        try:
            return self._reported(self.on_plan(context, "check"))
        except Blocked:
            outcomes.checked(self.step, "failed")
            raise

    def after_acceptance(self, context: Any, verdict: Mapping[str, Any]) -> Any:
        """Go on to the commit."""
        return self._reported(verdict)

    def _reported(self, result: Mapping[str, Any]) -> dict[str, Any]:
        status = "accepted" if result["failed"] and result["accepted"] else result["status"]
        outcomes.checked(self.step, status)
        outcomes.write_verdict(self.log, result, self.report)
        return {name: result[name] for name in ("status", "failed", "warnings", "rows", "table", "seconds")}


class CommitOperator(PlannedOperator):
    """Replaces the rows of a key by those of a sealed run in one transaction."""

    template_fields: Sequence[str] = (*PlannedOperator.template_fields, "base")

    def __init__(self, *, step: str, base: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step, self.base = step, base

    def execute(self, context: Any) -> Any:
        """Commit. A run that is committed already is only reported."""
        return announced(self, context, self.on_plan(context, "commit", *(["--base", self.base] if self.base else [])))


def announced(task: Any, context: Any, account: Mapping[str, Any]) -> Mapping[str, Any]:
    """Count a commit and describe it in the events of the task's assets.

    The task of a preview that would announce rows is skipped instead, so that no later Dag starts.
    """
    outcomes.committed(task.step, account)
    if task.outlets and (task.overrides.get("limit") or task.overrides.get("preview")):
        raise AirflowSkipException(f"{task.step} {task.key} is a preview: it is not announced to later Dags.")
    task.announce(context, {name: account[name] for name in ("rows", "fingerprint", "verdict") if name in account})
    return account


class RunOperator(AskingOperator):
    """Runs a whole step in one task, in the step's pool. For steps whose keys, or whose runs, depend on each other.

    If an input changes during the run, it plans again from the lake as it is then, a few times. A request to run again
    keeps its name, so it is answered once however many tries it takes.
    """

    template_fields: Sequence[str] = (*AskingOperator.template_fields, "again")

    def __init__(self, *, step: str, again: str = AGAIN, key: str = ALL_KEYS, **kwargs: Any) -> None:
        super().__init__(step=step, key=key, **{**heavy_task(step_spec(step).pool), **kwargs})
        self.again = again

    def judge(self, context: Any) -> Any:
        """Run all verbs on the current inputs."""
        for left in reversed(range(_PLANS)):
            try:
                account = self.kale(context, ["run", self.step, *again_words(self.again)])
                return announced(self, context, account)
            except Conflict as error:
                if not left:
                    raise
                self.log.warning("%s Planning again.", error)
            except Blocked:
                outcomes.checked(self.step, "failed")
                raise

    def after_acceptance(self, context: Any, verdict: Mapping[str, Any]) -> Any:
        """Run again, which now commits the accepted run."""
        outcomes.checked(self.step, "accepted")
        return self.judge(context)
