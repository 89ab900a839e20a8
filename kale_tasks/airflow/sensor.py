"""Waits for the landing files of a key without holding a worker.

The files are complete if they are marked as such, if they are all that a manifest of the source lists, or, without
either, if they have not changed for a while.
"""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException, AirflowSkipException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from kale_tasks.airflow.command_operator import KEY
from kale_tasks.airflow.dag_parts import schedule
from kale_tasks.airflow.hook import KaleHook, variables
from kale_tasks.errors import BadConfig, Transient

Files = Mapping[str, Sequence[Any]]
log = logging.getLogger(__name__)


class LandingSensor(BaseOperator):
    """Succeeds when the landing files of a key are complete; skipped if there are none in time."""

    template_fields: Sequence[str] = ("key",)
    ui_color = "#eef3e8"

    def __init__(
        self,
        *,
        wait_hours: float,
        poll_seconds: float,
        quiet_minutes: float,
        key: str = KEY,
        kale_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.key, self.kale_conn_id = key, kale_conn_id or schedule().connection
        self.wait_hours, self.poll_seconds, self.quiet_minutes = wait_hours, poll_seconds, quiet_minutes

    def execute(self, context: Any) -> int:
        """List the files once; wait in the triggerer unless they are marked as complete."""
        if not self.key:
            raise AirflowFailException("This run has no key. Trigger it with a key, such as 2026-11-01.")
        files, complete = list_landing(self.key, KaleHook(self.kale_conn_id).environment())
        self.log.info("%s", _seen(self.key, files, complete))
        return len(files) if complete else self._wait(files)

    def execute_complete(self, context: Any, event: Mapping[str, Any]) -> int:
        """Finish with the result of the trigger."""
        if event["passing"]:
            raise Transient(f"The landing files cannot be listed: {event['error']}")  # Airflow retries this
        if event["error"]:
            raise AirflowFailException(f"The landing files cannot be listed: {event['error']}")
        if not event["files"]:
            raise AirflowSkipException(f"No complete landing files for {self.key} within {self.wait_hours:g} hours.")
        self.log.info("%d landing files for %s", event["files"], self.key)
        return int(event["files"])

    def _wait(self, files: Files) -> NoReturn:
        self.log.info(
            "Looking every %g s for %g hours, and logging what changes. Files that nothing marks as complete count "
            "once they are %g minutes old.",
            self.poll_seconds, self.wait_hours, self.quiet_minutes,
        )  # fmt: skip
        trigger = LandingTrigger(
            key=self.key,
            kale_conn_id=self.kale_conn_id,
            poll_seconds=self.poll_seconds,
            quiet_minutes=self.quiet_minutes,
            until=time.time() + self.wait_hours * 3600,
            seen=dict(files),
        )
        self.defer(trigger=trigger, method_name="execute_complete")


class LandingTrigger(BaseTrigger):
    """Polls the landing files of a key."""

    def __init__(
        self, *, key: str, kale_conn_id: str, poll_seconds: float, quiet_minutes: float, until: float, seen: Files
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.key, self.kale_conn_id, self.poll_seconds, self.until = key, kale_conn_id, poll_seconds, until
        self.quiet_minutes, self.seen = quiet_minutes, seen

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the arguments with which another triggerer can continue."""
        names = ("key", "kale_conn_id", "poll_seconds", "quiet_minutes", "until", "seen")
        return f"{__name__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: the number of complete files (0: time is up), or an error."""
        try:
            event = {"files": await self._complete(), "error": "", "passing": False}
        except Exception as error:  # the task reports it; a trigger that raises loses the message
            event = {"files": 0, "error": str(error), "passing": isinstance(error, Transient)}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def _complete(self) -> int:
        environment, failed = await self._environment(), ""
        while time.time() < self.until:
            await asyncio.sleep(self.poll_seconds)
            try:
                files, complete = await asyncio.to_thread(list_landing, self.key, environment)
            except BadConfig:
                raise
            except Exception as error:  # a store that does not answer for a while ends no day
                failed = str(error)
                log.warning("The landing files of %s cannot be listed now: %s", self.key, failed)
                continue
            if failed or files != self.seen:
                log.info("%s", _seen(self.key, files, complete))
            failed = ""
            if complete or (complete is None and files and files == self.seen and self._quiet(files)):
                return len(files)
            self.seen = files
        if failed:
            raise Transient(failed)
        return 0

    def _quiet(self, files: Files) -> bool:
        """Whether nothing has landed for a while."""
        newest = max(datetime.fromisoformat(modified) for _, modified in files.values())
        return newest.timestamp() <= time.time() - 60 * self.quiet_minutes

    async def _environment(self) -> dict[str, str]:
        try:
            connection = await KaleHook.aget_connection(self.kale_conn_id)
        except AirflowNotFoundException:
            return {}
        return variables(connection.extra_dejson)


def _seen(key: str, files: Files, complete: bool | None) -> str:
    """Say what has landed for a key and what is waited for."""
    if not files:
        return f"No landing files for {key} yet."
    size = sum(size for size, _ in files.values())
    said = {True: "They are complete.", False: "Not all that the manifest lists.", None: "Nothing says they are all."}
    return f"{len(files)} landing files for {key}, {size:,} bytes. {said[complete]}"


def list_landing(key: str, environment: Mapping[str, str]) -> tuple[Files, bool | None]:
    """List the landing files of a key with size and time, and tell whether they are complete; None: nothing says so."""
    from kale_tasks.lake.landing import is_complete, landing_files
    from kale_tasks.settings import load

    settings = load(environ={**os.environ, **environment}).settings
    entries = landing_files(settings, key)
    files = {entry.path: [entry.size, entry.modified.isoformat()] for entry in entries}
    return files, is_complete(settings, key, entries) if files else None
