"""Distillation: trains a student to write stage-1 captions in one pass, evaluates it and registers it."""
