"""Checks that stop bad data, metrics that describe it, and reports that people read."""
