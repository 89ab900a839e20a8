"""Chooses rows by their vectors: finds copies, makes clusters, and takes a few rows of each."""
