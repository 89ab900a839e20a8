"""Where reports stand, so that those who only show them need nothing of how they are made."""

FOLDER = "reports"
RELEASE = "release-"


def report_path(name: str, kind: str) -> str:
    """A report of a key, or of a release (`release-V`), below the warehouse: html, json or summary.json."""
    return f"{FOLDER}/{name}.{kind}"
