"""Operators that decide what runs next: announcements, conditions, approvals, and takedowns from a form."""

from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from kale_tasks.airflow.forms import TAKEDOWN_KINDS
from kale_tasks.airflow.operators import AGAIN, KEY, CommandOperator
from kale_tasks.recipes.files import recipe_name


class _PendingOperator(CommandOperator):
    """Asks `kale pending` for `what` a recipe lacks, or, without a recipe, for what is not of one."""

    def __init__(self, *, what: str, recipe: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.what, self.recipe = what, recipe

    def pending(self, context: Any, *options: str) -> Any:
        """Return what is pending."""
        found = self.kale(context, ["pending", *options])
        return (found["recipes"][recipe_name(self.recipe)] if self.recipe else found)[self.what]


class AnnounceOperator(_PendingOperator):
    """Emits an asset for keys that `kale pending` lists under `what`, for one key or for all; skipped if it lists none.

    When two Dags must both finish before a third starts, each commits its rows and then announces. The one that ends
    last finds the rows of both. A second announcement does no harm: a committed key is not made again. With
    `quiet_hours`, a key for which something was written in these hours is left out: a run is working on it.
    """

    def __init__(self, *, outlet: Asset, key: str | None = KEY, quiet_hours: float = 0, **kwargs: Any) -> None:
        super().__init__(key=key, outlets=[outlet], **kwargs)
        self.outlet, self.quiet_hours = outlet, quiet_hours

    def execute(self, context: Any) -> list[str]:
        """List pending work, and emit an event for each key."""
        quiet = ["--quiet-hours", str(self.quiet_hours)] if self.quiet_hours else []
        found: list[str] = self.pending(context, *quiet)
        keys = [key for key in found if self.key in (None, key)]
        if not keys:
            raise AirflowSkipException(f"Nothing to announce: {self.what} is not pending for {self.key or 'any key'}.")
        context["outlet_events"][self.outlet].add_partitions(keys)
        return keys

    def _key(self) -> list[str]:
        return []  # `kale pending` lists all keys


class OnlyIfPendingOperator(_PendingOperator):
    """Skips the rest of the Dag unless `kale pending` lists something under `what`, or the run was forced."""

    template_fields = (*CommandOperator.template_fields, "again")

    def __init__(self, *, again: str = AGAIN, **kwargs: Any) -> None:
        super().__init__(key=None, **kwargs)
        self.again = again

    def execute(self, context: Any) -> Any:
        """List pending work; skip if there is none."""
        found = self.pending(context)
        due = found["ready"] if isinstance(found, dict) else bool(found)
        if not due and not self.again:
            raise AirflowSkipException(f"Nothing to do for {self.what}: {found}.")
        return found


class ApproveOperator(CommandOperator, ApprovalOperator):
    """Asks a person to approve a release, and waits without holding a worker. A refusal skips the later tasks."""

    template_fields = (*CommandOperator.template_fields, *ApprovalOperator.template_fields)

    def execute(self, context: Any) -> Any:
        """Show the review of the release and wait; Airflow calls `execute_complete` with the answer."""
        review = self.kale(context, ["release", "review"])
        self.body = f"[Report on this release](/kale/report/{review['report']})\n\n{review['text']}"
        return ApprovalOperator.execute(self, context)


class TakedownOperator(CommandOperator):
    """Runs `kale takedown` with the values of the form."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(key=None, **kwargs)

    def execute(self, context: Any) -> dict[str, Any]:
        """Take down or end a takedown. The result has the name of the takedown, never a row."""
        params = context["params"]
        values = [part for kind in TAKEDOWN_KINDS for value in params[kind] or () for part in (f"--{kind}", value)]
        if bool(values) == bool(params["end"]):
            raise AirflowFailException("Fill in either what to take down or the name of the takedown to end.")
        record = self.kale(context, ["takedown", *(["--end", params["end"]] if params["end"] else values)])
        return {name: record[name] for name in ("name", "due") if name in record}
