"""The fields of the form by which a person starts a run."""

from typing import Any

from airflow.sdk import Param

_FIELDS = {
    "force": Param(
        False, type="boolean", title="Make it again", description="Run the steps again although they are committed."
    ),
    "redrive": Param(
        False,
        type="boolean",
        title="Try failed images again",
        description="Ask once more for the images that failed in a way that heals.",
    ),
    "limit": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Limit",
        description="Take only the first rows of the key, for a quick look.",
    ),
    "recipe": Param(
        None,
        type=["null", "string"],
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
        title="Recipe",
        description="Name of a recipe in config/recipes; empty: the configured one.",
    ),
}


def form(*names: str) -> dict[str, Any]:
    """The named fields."""
    return {name: _FIELDS[name] for name in names}
