"""Taking rows down from a form."""

from typing import Any

from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowFailException

from kale_tasks.airflow.operators import CommandOperator

_KINDS = {
    "uid": "Uids of pairs, one a line.",
    "url": "Addresses of images.",
    "host": "Hosts, with all below them.",
    "sha256": "SHA-256 of the bytes of images.",
    "pattern": "Patterns (RE2) that a text matches.",
}


def takedown_form() -> dict[str, Any]:
    """The fields: what to take down, or which takedown to end."""
    end = Param(
        None,
        type=["null", "string"],
        pattern="^[0-9a-f]{20}$",
        title="End a takedown",
        description="Name of a takedown that is due: old files go, and a certificate comes.",
    )
    kinds = {
        kind: Param([], type=["array", "null"], items={"type": "string"}, title=kind, description=says)
        for kind, says in _KINDS.items()
    }
    return {**kinds, "end": end}


class TakedownOperator(CommandOperator):
    """Runs `kale takedown` with what the form holds."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(key=None, **kwargs)

    def execute(self, context: Any) -> dict[str, Any]:
        """Take down, or end; the result names the takedown, never a row."""
        params = context["params"]
        wanted = [part for kind in _KINDS for value in params[kind] or () for part in (f"--{kind}", value)]
        if bool(wanted) == bool(params["end"]):
            raise AirflowFailException("Fill in what to take down, or the name of the takedown to end; not both.")
        record = self.kale(context, ["takedown", *(["--end", params["end"]] if params["end"] else wanted)])
        return {name: record[name] for name in ("name", "due") if name in record}
