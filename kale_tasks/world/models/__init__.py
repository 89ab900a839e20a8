"""Tiny models of the sample world: teacher, fuser and base, trained on generated scenes alone."""

from pathlib import Path

CHECKPOINTS = Path(__file__).parent / "checkpoints"
