"""The expert, the embedder and the scorer that docs/plugins.md shows work as they are written there."""

import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kale_tasks.experts.base import ExpertRow, values_of
from kale_tasks.resources import resource


def shown(section: str) -> dict[str, Any]:
    """Run the Python code of a section and return its names."""
    text = resource("docs/plugins.md").read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", text, re.S):
        exec(code, names)
    return names


def test_the_expert_finds_values() -> None:
    rows = [ExpertRow("a", "", Image.new("RGB", (4, 4), "white")), ExpertRow("b", "", Image.new("RGB", (4, 4)))]
    assert values_of(shown("Experts")["Brightness"](), rows)["text"].to_pylist() == ["bright", "dark"]


def test_the_embedder_makes_vectors_of_length_one() -> None:
    rows = [ExpertRow("a", "", Image.new("RGB", (9, 4), "white")), ExpertRow("b", "", Image.new("RGB", (4, 4)))]
    vectors = shown("Embedders")["Colours"]().vectors(rows)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1], abs=1e-5) and vectors.shape == (2, 192)


def test_the_scorer_rates_texts() -> None:
    assert shown("Scorers")["SharedWords"]().scores([("A red cup", "a cup of Ubuna")]) == [0.5]
