"""The operators: each is one word of the `kale` command for one key, run as a process of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from kale_tasks.airflow.command import Command
from kale_tasks.airflow.hook import DEFAULT_CONNECTION, KaleHook
from kale_tasks.airflow.lineage import Lineage
from kale_tasks.airflow.links import ReportLink, RowsLink
from kale_tasks.airflow.settings import schedule

# A run by hand may have neither a partition key nor an interval; then the name does not even exist.
KEY = "{{ partition_key or (data_interval_start | ds if data_interval_start | default(none) else '') }}"
# What the form of a run may set. A Dag that does not ask for one of these leaves it empty.
OVERRIDES = {"limit": "{{ params.get('limit') or '' }}", "caption.recipe": "{{ params.get('recipe') or '' }}"}
AGAIN = "{{ params.get('force') or params.get('redrive') or '' }}"


class CommandOperator(Lineage, BaseOperator):
    """Runs `kale ARGUMENTS… --key KEY --json`; its answer is the task's result."""

    template_fields: Sequence[str] = ("key", "arguments", "overrides")
    operator_extra_links = (ReportLink(), RowsLink())
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
        """Run the command; counts and references come back, never rows."""
        return self.kale(context, self.arguments)

    def kale(self, context: Any, arguments: Sequence[str]) -> Any:
        """Run a `kale` command for this task's key and say what it says."""
        line = [*arguments, *self._key(), *self._sets(), "--json"]
        environment = {**KaleHook(self.kale_conn_id).environment(), "KALE_ATTEMPT": str(context["ti"].try_number)}
        self.log.info("kale %s", " ".join(line))
        self._command = Command(line, environment, schedule().python)
        return self._command.run(self.log.info)

    def on_kill(self) -> None:
        """End the command and all that it started."""
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


class PlanOperator(CommandOperator):
    """Plans a step for a key; its result is the list of chunks that `WorkOperator` is mapped over."""

    template_fields: Sequence[str] = (*CommandOperator.template_fields, "again")

    def __init__(self, *, step: str, again: str = AGAIN, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step, self.again = step, again

    def execute(self, context: Any) -> list[int]:
        """Plan; what the other verbs need of the plan goes to them as `fingerprint` and `base`."""
        made = self.kale(context, ["plan", self.step, *(["--again"] if self.again else [])])
        context["ti"].xcom_push("fingerprint", made["fingerprint"])
        context["ti"].xcom_push("base", made["base"] or "")
        return [chunk["index"] for chunk in made["chunks"]]


class WorkOperator(CommandOperator):
    """Makes the missing parts of one chunk."""

    template_fields: Sequence[str] = (*CommandOperator.template_fields, "fingerprint", "chunk")

    def __init__(self, *, step: str, fingerprint: Any, chunk: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step, self.fingerprint, self.chunk = step, fingerprint, chunk

    def execute(self, context: Any) -> Any:
        """Make them; a part that stands is never made again."""
        return self.kale(context, ["work", self.step, "--fingerprint", self.fingerprint, "--chunk", str(self.chunk)])


class CommitOperator(CommandOperator):
    """Makes the parts of a plan the rows of the key, in one transaction."""

    template_fields: Sequence[str] = (*CommandOperator.template_fields, "fingerprint", "base")

    def __init__(self, *, step: str, fingerprint: Any, base: Any, **kwargs: Any) -> None:
        # A plan without chunks skips the work: the commit then says again what stands. A skipped plan skips both.
        super().__init__(trigger_rule="none_failed_min_one_success", **kwargs)
        self.step, self.fingerprint, self.base = step, fingerprint, base

    def execute(self, context: Any) -> Any:
        """Commit; a run that is committed already stays as it is."""
        base = ["--base", self.base] if self.base else []
        return self.kale(context, ["commit", self.step, "--fingerprint", self.fingerprint, *base])


class RunOperator(CommandOperator):
    """Runs a whole step in one task: for what builds on all keys, which go on changing while it works."""

    template_fields: Sequence[str] = (*CommandOperator.template_fields, "again")

    def __init__(self, *, step: str, again: str = AGAIN, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step, self.again = step, again

    def execute(self, context: Any) -> Any:
        """Plan, work and commit, all on the inputs that stand at this moment."""
        return self.kale(context, ["run", self.step, *(["--again"] if self.again else [])])


class CheckOperator(CommandOperator):
    """Examines what was committed; bad data fails here, and nothing that builds on it is announced."""

    def __init__(self, *, step: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step

    def execute(self, context: Any) -> Any:
        """Examine; the result is the verdict, the figures stay in the lake."""
        verdict = self.kale(context, ["check", self.step])
        return {name: verdict[name] for name in ("status", "failed", "warnings", "rows", "table", "seconds")}
