"""Distillation: a student learns to write stage-1 captions in one pass, is judged, and is registered."""
