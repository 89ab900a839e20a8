"""Finds the files that ship beside the code: settings, recipes, queries."""

from pathlib import Path

_PACKAGE = Path(__file__).parent
# In a checkout the folders stand beside the package, in a wheel inside it.
_ROOT = _PACKAGE if (_PACKAGE / "config" / "kale.yaml").exists() else _PACKAGE.parent


def resource(relative: str) -> Path:
    """The path of a shipped file or folder such as `sql/ingest/exact.sql`."""
    return _ROOT / relative


def sql(name: str) -> str:
    """The text of a shipped query, named by its path below `sql/` without the ending."""
    return resource(f"sql/{name}.sql").read_text(encoding="utf-8")
