"""The card of a tiny model: what it is, how it was trained, and its figures on unseen scenes."""

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

Made for tests and demonstrations of KALE: it understands the sample world and nothing else. Trained from that world
alone, from random weights, by `kale sample train`; no seed of training occurs in a world or in the figures below.
Loads unchanged in transformers and in vLLM. Its prompt is part of what it learned: `prompts.yaml` beside the trainer.

## Training
| stage | steps | last loss | seconds | CPU seconds |
|---|---|---|---|---|
{stages}

## Figures
{figures}
"""


@dataclass(frozen=True)
class Stage:
    """One stage of training and what `fit` told of it."""

    name: str
    told: dict[str, Any]


def write_card(folder: Path, stages: list[Stage], figures: dict[str, float]) -> None:
    """Writes the model's README.md."""
    whats = yaml.safe_load(Path(__file__).with_name("cards.yaml").read_text())
    rows = [" | ".join(map(str, ("", stage.name, *stage.told.values(), ""))).strip() for stage in stages]
    lines = [f"- {name}: {value}" for name, value in figures.items()] or ["None: it has learned no task yet."]
    card = _CARD.format(name=folder.name, what=whats[folder.name], stages="\n".join(rows), figures="\n".join(lines))
    (folder / "README.md").write_text(card)
