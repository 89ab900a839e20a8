"""The files that ship with KALE beside its code: settings, recipes, queries, Dags."""

from pathlib import Path
from typing import Any

import yaml

YamlLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser is ten times faster
_PACKAGE = Path(__file__).parent
_WHEEL = _PACKAGE / "_resources"
# A wheel carries config/, sql/, dags/ and plugins/ in _resources; in a checkout they are beside the package.
_ROOT = _WHEEL if _WHEEL.is_dir() else _PACKAGE.parent


def resource(relative: str) -> Path:
    """Return the path of a shipped file or folder, such as `config/kale.yaml`."""
    return _ROOT / relative


def sql(name: str) -> str:
    """Return the text of a shipped query, named by its path below `sql/` without the suffix."""
    return resource(f"sql/{name}.sql").read_text(encoding="utf-8")


def parse_yaml(text: str) -> Any:
    """Parse YAML. Raises yaml.YAMLError."""
    return yaml.load(text, YamlLoader)
