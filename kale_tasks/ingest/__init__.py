"""The ingest step: landing files of a key become clean, deduplicated pairs."""
