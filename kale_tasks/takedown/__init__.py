"""Removes rows from every table, index, shard and release, and certifies it."""
