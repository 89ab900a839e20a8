"""A design that takes seconds."""

from pathlib import Path
from typing import Any

import yaml

from kale_tasks.evaluate.runs import Evaluation
from kale_tasks.settings import load

SMALL: dict[str, Any] = {
    "about": "Is the machinery sound?",
    "data": {"source": "sample", "seed": 5, "images": 64, "lessons": 64, "questions": 40},
    "arms": {"dense": {"text": "dense"}, "fused": {"text": "fused"}},
    "seeds": [1, 2],
    "model": {
        "base": "sample:teacher",
        "decoder": {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
                    "num_key_value_heads": 2},
        "max_tokens": 8,
        "threads": 1,
        "device": "cpu",
        "checkpoint_steps": 3,
    },
    "pretrain": {"steps": 5, "tokens": 300, "rate": 2e-3},
    "tune": {"steps": 4, "tokens": 100, "rate": 1e-3},
    "primary": {"questions": ["known", "both"], "baseline": "dense", "arms": ["fused"]},
}  # fmt: skip


def written(folder: Path, **changes: Any) -> str:
    """Write the small design with changes, and return its path."""
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump({**SMALL, **changes}))
    return str(path)


def opened(folder: Path, **changes: Any) -> Evaluation:
    """Open the small design with changes, in a warehouse below the folder."""
    return Evaluation.open(written(folder, **changes), load([f"warehouse={folder}/lake"], environ={}).settings)
