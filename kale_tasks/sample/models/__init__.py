"""Tiny models of the sample world: teacher, fuser and base, trained from the world alone."""
