"""Measures how good captions are."""
