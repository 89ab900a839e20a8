"""The files that ship with KALE beside its code: settings, recipes, queries, Dags."""

from pathlib import Path
from typing import Any

import yaml

YamlLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser is ten times faster
_DEPTH, _VALUES = 100, 1_000_000  # most levels and values of a YAML file, aliases counted as often as they are used
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
    """Parse YAML. Raises yaml.YAMLError, also for what aliases make huge or endless."""
    try:
        value = yaml.load(text, YamlLoader)
    except (ValueError, RecursionError) as error:  # a number with thousands of digits; thousands of levels
        raise yaml.YAMLError(str(error)) from error
    if _size(value, {}) > _VALUES:
        raise yaml.YAMLError(f"it has more than {_VALUES:,} values")
    return value


def _size(value: Any, known: dict[int, int], depth: int = 0) -> int:
    """The number of values in a value; what is in it several times is counted several times, and looked at once."""
    if depth > _DEPTH:
        raise yaml.YAMLError(f"it has more than {_DEPTH} levels")
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        inside = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_size(one, known, depth + 1) for one in inside)
    return known[id(value)]
