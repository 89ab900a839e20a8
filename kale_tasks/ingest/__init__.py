"""Ingest: landing files of a key become clean, deduplicated pairs."""
