"""Removes rows from every table, index, shard and release, keeps them out, and certifies it."""
