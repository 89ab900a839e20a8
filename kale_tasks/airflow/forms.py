"""Fields of the forms in which a person starts a run."""

import os
from contextlib import suppress
from typing import Any

from airflow.sdk import Param

from kale_tasks.recipes.files import shipped_recipes
from kale_tasks.settings import load

_OFFERED = 60  # keys that a form offers, the latest
_FIELDS = {
    "force": Param(
        False, type="boolean", title="Run again", description="Run the steps again although they are committed."
    ),
    "redrive": Param(
        False,
        type="boolean",
        title="Retry failed images",
        description="Fetch again the images that failed for a reason that may be temporary.",
    ),
    "limit": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Limit",
        description="Take only the first rows of the key, in a preview: the rows of the key stay as they are.",
    ),
    "preview": Param(
        None,
        type=["null", "string"],
        pattern=r"^[a-z][a-z0-9_]{0,29}$",
        title="Preview",
        description="Work in this preview, which reads the lake but does not change it. "
        "Empty: `default` if there is a limit, else none.",
    ),
}


def run_form(*names: str) -> dict[str, Any]:
    """Return the named fields."""
    return {name: _FIELDS[name] for name in names}


def key_form(*names: str) -> dict[str, Any]:
    """Return the field of the key, and the named fields."""
    key = Param(
        None,
        type=["null", "string"],
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        title="Key",
        description="The key to make, such as 2026-11-01. A partition key, if the run has one, counts instead.",
        examples=_landed(),
    )
    return {"key": key, **run_form(*names)}


def _landed() -> list[str]:
    """The latest keys of a landing folder. A store is not asked: a Dag file must load fast, also while it is away."""
    landing = load().settings.landing
    found: list[str] = []
    if "://" not in landing:
        with suppress(OSError):
            found = [entry.name for entry in os.scandir(landing) if entry.is_dir() and entry.name[0].isalnum()]
    return sorted(found, reverse=True)[:_OFFERED]


def takedown_form() -> dict[str, Any]:
    """Return the fields of a takedown: the list of what to take down, or which takedown to end.

    Values of a form stay in Airflow's database, so what must be forgotten is never typed into one.
    """
    listed = Param(
        None,
        type=["null", "string"],
        title="List",
        description="Path or s3:// address of a file with a uid, URL, host, SHA-256 or `pattern words` on each line. "
        "Delete the file when the takedown has ended.",
    )
    end = Param(
        None,
        type=["null", "string"],
        pattern="^[0-9a-f]{20}$",
        title="End a takedown",
        description="Name of a takedown that is due: deletes old files and writes the certificate.",
    )
    return {"list": listed, "end": end}


def canary_form() -> dict[str, Any]:
    """Return the fields of a canary."""
    action = Param("start", enum=["start", "apply", "drop"], title="Action", description="What to do with the canary.")
    name = Param("canary", type="string", pattern=r"^[a-z][a-z0-9_]{0,29}$", title="Name", description="Of the canary.")
    recipe = Param(
        None,
        type=["null", "string"],
        enum=[None, *shipped_recipes()],
        title="Recipe",
        description="The recipe to try; empty: the configured one, with another engine.",
    )
    engine = Param(
        None,
        type=["null", "string"],
        pattern=r"^[a-z][a-z0-9_]{0,29}$",
        title="Engine",
        description="The engine to try; empty: the configured one.",
    )
    share = Param(
        0.01, type="number", minimum=0.0001, maximum=1, title="Share", description="Share of the images of the key."
    )
    return {**key_form(), "action": action, "name": name, "recipe": recipe, "engine": engine, "share": share}


def design_form() -> dict[str, Any]:
    """Return the field that names the design of an evaluation."""
    named = Param("sample", type="string", title="Design", description="A name in config/evaluations, or a YAML file.")
    return {"design": named}
