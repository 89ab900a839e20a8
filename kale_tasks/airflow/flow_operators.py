"""Operators that decide what runs next: announcements, conditions, and takedowns from a form."""

from typing import Any

from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from kale_tasks.airflow.command_operator import KEY, CommandOperator
from kale_tasks.airflow.operators import AGAIN
from kale_tasks.recipes.files import recipe_name


class _PendingOperator(CommandOperator):
    """Asks `kale pending` for `what` a recipe lacks, or, without a recipe, for what is not of one.

    With `quiet_hours`, a key for which something was written in these hours is left out: a run is working on it.
    """

    def __init__(self, *, what: str, recipe: str = "", quiet_hours: float = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.what, self.recipe, self.quiet_hours = what, recipe, quiet_hours

    def pending(self, context: Any) -> Any:
        """Return what is pending."""
        quiet = ["--quiet-hours", str(self.quiet_hours)] if self.quiet_hours else []
        found = self.kale(context, ["pending", *quiet])
        return (found["recipes"][recipe_name(self.recipe)] if self.recipe else found)[self.what]

    def _key(self) -> list[str]:
        return []  # `kale pending` lists all keys


class PendingKeysOperator(_PendingOperator):
    """Returns the first `most` keys that `kale pending` lists under `what`, in order, for tasks mapped over them."""

    def __init__(self, *, most: int, **kwargs: Any) -> None:
        super().__init__(key=None, **kwargs)
        self.most = most

    def execute(self, context: Any) -> list[str]:
        """List the keys."""
        found: list[str] = self.pending(context)
        if len(found) > self.most:
            self.log.info("%d keys are pending; the others come with the next run.", len(found))
        return found[: self.most]


class AnnounceOperator(_PendingOperator):
    """Emits an asset for keys that `kale pending` lists under `what`, for one key or for all; nothing if it lists none.

    When two Dags must both finish before a third starts, each commits its rows and then announces. The one that ends
    last finds the rows of both. A second announcement does no harm: a committed key is not made again.
    """

    def __init__(self, *, outlet: Asset, key: str | None = KEY, **kwargs: Any) -> None:
        super().__init__(key=key, outlets=[outlet], **kwargs)
        self.outlet = outlet

    def execute(self, context: Any) -> list[str]:
        """List pending work, and emit an event for each key."""
        found: list[str] = self.pending(context)
        keys = [key for key in found if self.key in (None, key)]
        if keys:
            context["outlet_events"][self.outlet].add_partitions(keys)
        else:
            self.log.info("Nothing to announce: %s is not pending for %s.", self.what, self.key or "any key")
            self.outlets = []  # Airflow emits an event of its own for an outlet without one
        return keys


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


class TakedownOperator(CommandOperator):
    """Runs `kale takedown` with the list that the form names. What is in the list is in no log and not in Airflow."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(key=None, **kwargs)

    def execute(self, context: Any) -> dict[str, Any]:
        """Take down or end a takedown. The result has the name of the takedown, never a row."""
        given = {option: value for option in ("list", "end") if (value := context["params"][option])}
        if len(given) != 1:
            raise AirflowFailException("Fill in either the list of what to take down or the takedown to end.")
        ((option, value),) = given.items()
        record = self.kale(context, ["takedown", f"--{option}", value])
        return {name: record[name] for name in ("name", "due") if name in record}
