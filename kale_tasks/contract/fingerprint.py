"""The fingerprint that names a run, and the table that keeps it stable when settings are renamed or removed."""

import json
from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from kale_tasks.contract.step import Step
from kale_tasks.lake.hashing import short_sha256

# Raised when the hash of the same settings and inputs changes; every committed run is stale then.
ALGORITHM = "v2"
ALWAYS_HASHED = object()


@dataclass(frozen=True)
class Retired:
    """A setting that was renamed or removed.

    `neutral` is the value at which it was left out of the hash, ALWAYS_HASHED if there was none. A renamed setting has
    today's name in `now`. A removed one has in `value` what the code behaves as now, unless that is the neutral value.
    """

    neutral: Any = ALWAYS_HASHED
    now: str = ""
    value: Any = ALWAYS_HASHED


# By the name of the step, a dot, and the former name in the step's config, such as "ingest.rules.min_words" or
# "dense.task.sampling.top_p". Entries are never deleted: a name must not return with another meaning.
RETIRED: dict[str, Retired] = {"distill.train.processes": Retired(value=1)}  # runtime since checkpoints fit any number


def fingerprint(step: Step, config: Mapping[str, Any], inputs: Mapping[str, str], because: Collection[str] = ()) -> str:
    """Name a run: the same step, settings, inputs and answered marks have the same name on any machine."""
    hashed = _with_former_names(step.name, config)
    known = [step.name, step.version, hashed, inputs, *([sorted(because)] if because else [])]
    text = json.dumps(known, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return short_sha256(f"{ALGORITHM}:{text}")


def _with_former_names(step: str, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a config as it was before settings were renamed or removed.

    Raises ValueError if a retired name is in use again.
    """
    retired = {name.split(".", 1)[1]: entry for name, entry in RETIRED.items() if name.split(".", 1)[0] == step}
    if not retired:
        return config
    former: dict[str, Any] = deepcopy(dict(config))
    values = {
        name: _take(former, entry.now.split(".")[1:]) if entry.now else entry.value for name, entry in retired.items()
    }
    for name, value in values.items():
        if _take(former, name.split(".")) is not ALWAYS_HASHED:
            raise ValueError(f"The setting '{name}' of {step} is retired: choose another name.")
        if value not in (ALWAYS_HASHED, retired[name].neutral):
            _put(former, name.split("."), value)
    return former


def _take(tree: dict[str, Any], path: list[str]) -> Any:
    """Remove a value, and the mappings that this leaves empty. Returns ALWAYS_HASHED if there is none."""
    name, *rest = path
    if name not in tree or (rest and not isinstance(tree[name], dict)):
        return ALWAYS_HASHED
    if not rest:
        return tree.pop(name)
    value = _take(tree[name], rest)
    if not tree[name]:
        del tree[name]
    return value


def _put(tree: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value
