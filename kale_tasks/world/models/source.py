"""The model source `sample`: the tiny models of the sample world and the prompts they were trained on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from kale_tasks.errors import BadConfig
from kale_tasks.world.models import CHECKPOINTS


class SampleModels:
    """Resolves `sample:NAME` in recipes; registered in pyproject.toml under `kale.models`."""

    def names(self) -> Sequence[str]:
        """List the shipped checkpoints."""
        return sorted(path.parent.name for path in CHECKPOINTS.glob("*/config.json"))

    def locate(self, name: str) -> Path:
        """Return the folder of a shipped checkpoint."""
        return CHECKPOINTS / name

    def prompt(self, name: str) -> Mapping[str, Any]:
        """Return a training prompt. Tiny models understand no other wording, so recipes refer to it by name."""
        known = yaml.safe_load(CHECKPOINTS.with_name("prompts.yaml").read_text(encoding="utf-8"))
        if not isinstance(known.get(name), dict):
            raise BadConfig(f"There is no prompt 'sample:{name}'. Known: {', '.join(_prompts(known))}.")
        return {**known[name], "alt_characters": known["alt_characters"]}


def _prompts(known: Mapping[str, Any]) -> list[str]:
    return [name for name, value in known.items() if isinstance(value, dict)]
