"""Measuring on this machine: how fast an engine captions beside the library that it runs."""
