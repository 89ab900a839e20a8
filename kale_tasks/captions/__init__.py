"""The captioning steps dense, fuse and student. Each sends its rows to an engine and cleans the answers."""
