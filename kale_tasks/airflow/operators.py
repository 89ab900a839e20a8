"""Operators that run a `kale` command for one key in a process of its own."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, DagRunTriggerException

from kale_tasks.airflow.command import Command
from kale_tasks.airflow.dag_parts import OVERRIDES, heavy_task, schedule
from kale_tasks.airflow.hook import DEFAULT_CONNECTION, KaleHook
from kale_tasks.airflow.lineage import Lineage
from kale_tasks.contract.registry import step_spec
from kale_tasks.errors import Conflict, Paused
from kale_tasks.lake.keys import ALL_KEYS

# A manual run may have neither a partition key nor a data interval; the name is then undefined.
KEY = "{{ partition_key or (data_interval_start | ds if data_interval_start | default(none) else '') }}"
_PLANS = 4  # how often a step is planned before a conflict fails its task
# Named by the Dag run, so that a retry after the commit does not run a third time.
AGAIN = "{{ run_id if params.get('force') or params.get('redrive') else '' }}"


class ReportLink(BaseOperatorLink):
    """Link to the report on the key of the task."""

    name = "Report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address of the page. Airflow calls this after the task has ended."""
        return _page("report", operator)


class LineageLink(BaseOperatorLink):
    """Link to the lineage of the key: committed runs and what they were made from."""

    name = "Lineage"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address of the page. Airflow calls this after the task has ended."""
        return _page("keys", operator)


def _page(kind: str, operator: Any) -> str:
    # A task on all keys has no key, and a mapped task that failed early has no rendered one: link to the list.
    key = getattr(operator, "key", None)
    return f"/kale/{kind}/{quote(key, safe='')}" if key else "/kale/"


class CommandOperator(Lineage, BaseOperator):
    """Runs `kale ARGUMENTS… --key KEY --json` and returns its JSON."""

    template_fields: Sequence[str] = ("key", "arguments", "overrides")
    operator_extra_links = (ReportLink(), LineageLink())
    ui_color = "#e8eef7"

    def __init__(
        self,
        *,
        arguments: Sequence[str] = (),
        key: str | None = KEY,
        overrides: Mapping[str, str] = OVERRIDES,
        kale_conn_id: str = DEFAULT_CONNECTION,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.arguments, self.key, self.overrides, self.kale_conn_id = (
            list(arguments),
            key,
            dict(overrides),
            kale_conn_id,
        )
        self._command: Command | None = None

    def execute(self, context: Any) -> Any:
        """Run the command. The result has counts and references, never rows."""
        return self.kale(context, self.arguments)

    def kale(self, context: Any, arguments: Sequence[str]) -> Any:
        """Run a `kale` command for the key of this task, log its progress and return its JSON."""
        line = [*arguments, *self._key(), *self._sets(), "--json"]
        ti = context["ti"]
        # A lease of an earlier try of this task is taken over at once.
        task = f"{ti.dag_id} {ti.run_id} {ti.task_id} {ti.map_index}"
        own = {"KALE_ATTEMPT": str(ti.try_number), "KALE_TASK": task}
        environment = {**KaleHook(self.kale_conn_id).environment(), **own}
        self.log.info("kale %s", " ".join(line))
        self._command = Command(line, environment, schedule().python)
        return self._command.run(self.log.info)

    def on_kill(self) -> None:
        """Stop the command and everything it started."""
        if self._command:
            self._command.kill()

    def _key(self) -> list[str]:
        if self.key is None:
            return []
        if not self.key:
            raise AirflowFailException(
                "This run has no key. Trigger it with a partition key, such as 2026-11-01, "
                "or backfill kale_ingest over the days you want."
            )
        return ["--key", self.key]

    def _sets(self) -> list[str]:
        return [part for name, value in self.overrides.items() if value for part in ("--set", f"{name}={value}")]


def again_words(request: str) -> list[str]:
    """The options that ask for a new run in the name of a request."""
    return ["--again", "--request", request] if request else []


class PlanOperator(CommandOperator):
    """Plans a step for a key and returns the chunks, over which `WorkOperator` is mapped."""

    template_fields: Sequence[str] = (*CommandOperator.template_fields, "again")

    def __init__(self, *, step: str, again: str = AGAIN, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step, self.again = step, again

    def execute(self, context: Any) -> list[int]:
        """Plan, and push `fingerprint` and `base` for the later tasks."""
        made = self.kale(context, ["plan", self.step, *again_words(self.again)])
        context["ti"].xcom_push("fingerprint", made["fingerprint"])
        context["ti"].xcom_push("base", made["base"] or "")
        return [chunk["index"] for chunk in made["chunks"]]


class PlannedOperator(CommandOperator):
    """Runs a verb on the run that `PlanOperator` planned.

    On a conflict the Dag run clears itself and starts again, a few times. What is committed by then takes a moment;
    this step is planned again, from the lake as it is then, and its chunks are made in their pool.
    """

    template_fields: Sequence[str] = (*CommandOperator.template_fields, "fingerprint")

    def __init__(self, *, step: str, fingerprint: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step, self.fingerprint = step, fingerprint

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
    """Makes the missing parts of one chunk. Where the work pauses until a time, it waits without a worker."""

    template_fields: Sequence[str] = (*PlannedOperator.template_fields, "chunk")

    def __init__(self, *, chunk: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.chunk = chunk

    def execute(self, context: Any) -> Any:
        """Make the parts that do not exist yet."""
        try:
            return self.on_plan(context, "work", "--chunk", str(self.chunk))
        except Paused as paused:
            if paused.resumes_at is None:
                raise AirflowSkipException(str(paused)) from None
            self.log.info("%s", paused)
            self.defer(trigger=DateTimeTrigger(paused.resumes_at), method_name="execute_complete")

    def execute_complete(self, context: Any, event: Any = None) -> Any:
        """Go on after a pause."""
        return self.execute(context)


class SealOperator(PlannedOperator):
    """Fixes the exact files of a run, once all its parts are made."""

    def __init__(self, **kwargs: Any) -> None:
        # A plan without chunks skips the work; the later tasks then find the committed run. A skipped plan skips all.
        super().__init__(trigger_rule="none_failed_min_one_success", **kwargs)

    def execute(self, context: Any) -> Any:
        """Seal. A run that is sealed or committed already is left as it is."""
        return self.on_plan(context, "seal")


class CheckOperator(PlannedOperator):
    """Checks a sealed run before it is committed. A failed critical check fails the task; the key keeps its rows."""

    def execute(self, context: Any) -> Any:
        """Run the checks. The result names failed checks and warnings; the figures stay in the lake."""
        result = self.on_plan(context, "check")
        return {name: result[name] for name in ("status", "failed", "warnings", "rows", "table", "seconds")}


class CommitOperator(PlannedOperator):
    """Replaces the rows of a key by those of a sealed run in one transaction."""

    template_fields: Sequence[str] = (*PlannedOperator.template_fields, "base")

    def __init__(self, *, base: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.base = base

    def execute(self, context: Any) -> Any:
        """Commit. A run that is committed already is only reported.

        The task of a preview that would announce rows is skipped instead, so that no later Dag starts.
        """
        base = ["--base", self.base] if self.base else []
        result = self.on_plan(context, "commit", *base)
        if self.outlets and (self.overrides.get("limit") or self.overrides.get("preview")):
            raise AirflowSkipException(f"{self.step} {self.key} is a preview: it is not announced to later Dags.")
        return result


class RunOperator(CommandOperator):
    """Runs a whole step in one task, in the step's pool. For steps that read all keys.

    If an input changes during the run, it plans again from the lake as it is then, a few times. A request to run again
    keeps its name, so it is answered once however many tries it takes.
    """

    template_fields: Sequence[str] = (*CommandOperator.template_fields, "again")

    def __init__(self, *, step: str, again: str = AGAIN, key: str = ALL_KEYS, **kwargs: Any) -> None:
        super().__init__(key=key, **{**heavy_task(step_spec(step).pool), **kwargs})
        self.step, self.again = step, again

    def execute(self, context: Any) -> Any:
        """Run all verbs on the current inputs."""
        for left in reversed(range(_PLANS)):
            try:
                return self.kale(context, ["run", self.step, *again_words(self.again)])
            except Conflict as error:
                if not left:
                    raise
                self.log.warning("%s Planning again.", error)
