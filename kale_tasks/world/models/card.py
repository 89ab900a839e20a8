"""Writes the card of a tiny model: what it is, how it was trained, and its figures on unseen scenes."""

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_CARD = """---
license: apache-2.0
library_name: transformers
tags: [kale, sample-world]
---
# {name}

{what}

Made for tests and demonstrations of KALE: it understands the sample world and nothing else. Trained from random weights
on scenes of that world by `kale sample train`; no seed of the training is used for a world or for the figures below.
Loads unchanged in transformers and in vLLM. It understands only the prompts in `prompts.yaml` of the training code.

## Training
| stage | steps | last loss | seconds | CPU seconds |
|---|---|---|---|---|
{stages}

## Figures
{figures}
"""


@dataclass(frozen=True)
class Stage:
    """One stage of a training and the figures that `fit` returned."""

    name: str
    figures: dict[str, Any]


def write_card(folder: Path, stages: list[Stage], figures: dict[str, float]) -> None:
    """Write the model's README.md."""
    descriptions = yaml.safe_load(Path(__file__).with_name("cards.yaml").read_text())
    rows = [" | ".join(map(str, ("", stage.name, *stage.figures.values(), ""))).strip() for stage in stages]
    lines = [f"- {name}: {value}" for name, value in figures.items()]
    text = {
        "name": folder.name,
        "what": textwrap.fill(descriptions[folder.name], 120),
        "stages": "\n".join(rows),
        "figures": "\n".join(lines),
    }
    (folder / "README.md").write_text(_CARD.format(**text))
