"""Fields of the forms in which a person starts a run."""

from typing import Any

from airflow.sdk import Param

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
TAKEDOWN_KINDS = {
    "uid": ("Uids", "Uids of pairs, one per line."),
    "url": ("Addresses", "Addresses of images, one per line."),
    "host": ("Hosts", "Host names, one per line; their subdomains are included."),
    "sha256": ("SHA-256", "SHA-256 of the bytes of images, one per line."),
    "pattern": ("Patterns", "Patterns (RE2) that an alt-text or caption matches, one per line."),
}


def run_form(*names: str) -> dict[str, Any]:
    """Return the named fields."""
    return {name: _FIELDS[name] for name in names}


def takedown_form() -> dict[str, Any]:
    """Return the fields of a takedown: what to take down, or which takedown to end."""
    kinds = {
        kind: Param([], type=["array", "null"], items={"type": "string"}, title=title, description=description)
        for kind, (title, description) in TAKEDOWN_KINDS.items()
    }
    end = Param(
        None,
        type=["null", "string"],
        pattern="^[0-9a-f]{20}$",
        title="End a takedown",
        description="Name of a takedown that is due: deletes old files and writes the certificate.",
    )
    return {**kinds, "end": end}
