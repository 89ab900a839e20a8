"""Builds the settings from their four layers and remembers where each value came from."""

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from kale_tasks.errors import BadConfig
from kale_tasks.resources import parse_yaml, resource
from kale_tasks.settings.model import Settings
from kale_tasks.settings.section import Section

_NOT_SETTINGS = {"KALE_ATTEMPT", "KALE_TASK"}  # variables that a scheduler passes to a command
_SECRET_WORDS = ("secret", "token", "key_id", "api_key")


class Loaded(NamedTuple):
    """Settings, and for each dotted name the layer that set it."""

    settings: Settings
    origins: Mapping[str, str]


class _Value(NamedTuple):
    name: str
    origin: str
    value: Any


def load(overrides: Sequence[str] = (), *, environ: Mapping[str, str] | None = None) -> Loaded:
    """Merge defaults, profile, environment and overrides (`a.b=c`), each layer replacing the values before it.

    Raises BadConfig if a file cannot be read, a name is unknown or a value is not allowed.
    """
    defaults = _from_yaml(resource("config/kale.yaml"))
    overriding = [*_from_environment(os.environ if environ is None else environ), *map(_override, overrides)]
    profile = next(v.value for v in reversed([*defaults, *overriding]) if v.name == "profile")
    tree: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, origin, value in [*defaults, *_from_yaml(_profile_path(str(profile))), *overriding]:
        _check_name(name, origin)
        _put(tree, name.split("."), value)
        origins[name] = origin
    return Loaded(_validate(tree, origins), origins)


def setting_names(section: type[Section] = Settings, prefix: str = "") -> Iterator[str]:
    """Yield the dotted name of every setting."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from setting_names(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


def _from_yaml(path: Path) -> list[_Value]:
    try:
        tree = parse_yaml(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadConfig(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise BadConfig(f"{path} must contain names and values, not a {type(tree).__name__}.")
    return [_Value(name, path.name, value) for name, value in _leaves(tree)]


def _from_environment(environ: Mapping[str, str]) -> Iterator[_Value]:
    for variable in sorted(environ):
        name = variable.removeprefix("KALE_").lower().replace("__", ".")
        if not variable.startswith("KALE_") or variable in _NOT_SETTINGS:
            continue
        if environ[variable] or name != "profile":  # an empty KALE_PROFILE means the default profile
            yield _Value(name, f"environment {variable}", _scalar(environ[variable]))


def _override(text: str) -> _Value:
    name, equals, value = text.partition("=")
    if not equals:
        raise BadConfig(f"--set takes name=value, such as --set parts.part_rows=100; got '{text}'.")
    return _Value(name.strip(), "--set", _scalar(value))


def _profile_path(profile: str) -> Path:
    if profile.endswith((".yaml", ".yml")):
        return Path(profile)
    path = resource(f"config/profiles/{profile}.yaml")
    if "/" in profile or not path.exists():
        known = sorted(p.stem for p in resource("config/profiles").glob("*.yaml"))
        raise BadConfig(f"There is no profile '{profile}'. Use one of {', '.join(known)}, or the path of a YAML file.")
    return path


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        dotted = f"{prefix}{name}"
        if isinstance(value, dict) and dotted not in _known_names():
            yield from _leaves(value, f"{dotted}.")
        else:
            yield dotted, value


@lru_cache(maxsize=1)
def _known_names() -> frozenset[str]:
    return frozenset(setting_names())


def _scalar(text: str) -> Any:
    try:
        return parse_yaml(text)
    except yaml.YAMLError:
        return text


def _check_name(name: str, origin: str) -> None:
    known = _known_names()
    if name in known or any(name.startswith(f"{k}.") for k in known):
        return
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    advice = f" Did you mean '{near[0]}'?" if near else " `kale config` lists every setting."
    raise BadConfig(f"{origin}: there is no setting '{name}'.{advice}")


def _put(tree: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


def _validate(tree: Mapping[str, Any], origins: Mapping[str, str]) -> Settings:
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        origin = origins.get(name, "config")
        shown = "a secret" if any(word in name for word in _SECRET_WORDS) else repr(first["input"])
        hint = (
            f" Write a list: {name}=[{first['input']}]." if first["type"] == "list_type" and shown != "a secret" else ""
        )
        raise BadConfig(f"{origin}: setting '{name}': {first['msg']} (got {shown}).{hint}") from error
