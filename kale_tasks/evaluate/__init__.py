"""Evaluation of captions: what training on them is worth, what they say, and how sure either figure is."""
