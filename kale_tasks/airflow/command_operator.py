"""The operator that runs a `kale` command for one key, and the links of its tasks to the pages of the key."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowFailException

from kale_tasks.airflow.command import Command
from kale_tasks.airflow.dag_parts import OVERRIDES, dag_id, schedule
from kale_tasks.airflow.hook import KaleHook
from kale_tasks.airflow.lineage import Lineage

# The key of the run, or that of its form. A manual run may have no data interval; the name is then undefined.
KEY = (
    "{{ partition_key or params.get('key') or "
    "(data_interval_start | ds if data_interval_start | default(none) else '') }}"
)


class ReportLink(BaseOperatorLink):
    """Link to the report on the key of the task."""

    name = "Report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address of the page. Airflow calls this after the task has ended."""
        return page("report", getattr(operator, "key", None))


class LineageLink(BaseOperatorLink):
    """Link to the lineage of the key: committed runs and what they were made from."""

    name = "Lineage"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address of the page. Airflow calls this after the task has ended."""
        return page("keys", getattr(operator, "key", None))


def page(kind: str, key: str | None) -> str:
    """Return the path of a page; without a key, as of a mapped task that failed early, that of the list."""
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
        kale_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.arguments, self.key, self.overrides = list(arguments), key, dict(overrides)
        self.kale_conn_id = kale_conn_id or schedule().connection
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
        self.log.info("kale %s", " ".join(line))
        self._command = Command(line, {**self.environment(), **own}, schedule().python)
        return self._command.run(self.log.info)

    def environment(self) -> dict[str, str]:
        """Return what the connection adds to the environment of the command."""
        return KaleHook(self.kale_conn_id).environment()

    @property
    def report(self) -> str:
        """The address of the report on the key of this task."""
        return self.address("report")

    def address(self, kind: str, ending: str = "") -> str:
        """The address of a page on the key of this task, with the root of Airflow."""
        root: str = conf.get("api", "base_url", fallback="")
        return f"{root.rstrip('/')}{page(kind, self.key)}{ending}"

    def on_kill(self) -> None:
        """Stop the command and everything it started."""
        if self._command:
            self._command.kill()

    def announce(self, context: Any, extra: Mapping[str, Any]) -> None:
        """Say in the events of this task's assets which key they are about, and what was committed."""
        for outlet in self.outlets:
            event = context["outlet_events"][outlet]
            event.add_partitions([self.key])
            event.extra.update(extra)

    def _key(self) -> list[str]:
        if self.key is None:
            return []
        if not self.key:
            raise AirflowFailException(
                "This run has no key. Trigger it with a key, such as 2026-11-01, "
                f"or backfill {dag_id('ingest')} over the days you want."
            )
        return ["--key", self.key]

    def _sets(self) -> list[str]:
        return [part for name, value in self.overrides.items() if value for part in ("--set", f"{name}={value}")]
