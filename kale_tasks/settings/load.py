"""Builds the settings from their four layers and remembers where each value came from."""

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from kale_tasks.errors import BadConfig
from kale_tasks.resources import resource
from kale_tasks.settings.model import Settings
from kale_tasks.settings.section import Section

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same, ten times as fast
# Variables of the process contract; not settings.
_NOT_SETTINGS = {"KALE_ATTEMPT"}


@dataclass(frozen=True)
class Loaded:
    """Settings and, for each dotted name, the layer that had the last word."""

    settings: Settings
    origins: Mapping[str, str]


def load(
    overrides: Sequence[str] = (), *, profile: str | None = None, environ: Mapping[str, str] | None = None
) -> Loaded:
    """The effective settings: defaults < profile < environment < overrides (`a.b=c`)."""
    environ = os.environ if environ is None else environ
    assigned = [_assignment(text) for text in overrides]
    named = [value for name, value in assigned if name == "profile"]
    profile = profile or (str(named[-1]) if named else None) or environ.get("KALE_PROFILE")
    defaults = resource("config/kale.yaml")
    layers: list[tuple[str, str, Any]] = [(name, str(defaults.name), v) for name, v in _leaves(_yaml(defaults))]
    path = _profile_path(profile or str(_yaml(defaults)["profile"]))
    layers += [(name, path.name, value) for name, value in _leaves(_yaml(path))]
    if profile:
        layers.append(("profile", "environment" if environ.get("KALE_PROFILE") == profile else "--profile", profile))
    layers += [(name, f"environment {variable}", value) for variable, name, value in _from_environment(environ)]
    layers += [(name, "--set", value) for name, value in assigned]
    tree: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, origin, value in layers:
        _check_name(name, origin)
        _put(tree, name.split("."), value)
        origins[name] = origin
    return Loaded(_validate(tree, origins), origins)


def setting_names(section: type[Section] = Settings, prefix: str = "") -> Iterator[str]:
    """Every dotted setting name of the model."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from setting_names(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


def _yaml(path: Path) -> dict[str, Any]:
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), _Loader) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadConfig(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(value, dict):
        raise BadConfig(f"{path} must hold names and values, not a {type(value).__name__}.")
    return value


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
        if isinstance(value, dict) and dotted not in _value_names():
            yield from _leaves(value, f"{dotted}.")
        else:
            yield dotted, value


@lru_cache(maxsize=1)
def _value_names() -> frozenset[str]:
    return frozenset(setting_names())


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, str, Any]]:
    for variable in sorted(environ):
        if variable.startswith("KALE_") and variable not in _NOT_SETTINGS | {"KALE_PROFILE"}:
            yield variable, variable.removeprefix("KALE_").lower().replace("__", "."), _scalar(environ[variable])


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise BadConfig(f"--set takes name=value, such as --set parts.part_rows=100; got '{text}'.")
    return name.strip(), _scalar(value)


def _scalar(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _check_name(name: str, origin: str) -> None:
    known = _value_names()
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
        shown = "a secret" if "secret" in name or "token" in name or "key_id" in name else repr(first["input"])
        raise BadConfig(f"{origin}: setting '{name}': {first['msg']} (got {shown}).") from error
