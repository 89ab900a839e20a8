"""The release: its files, its card, and the targets that it is published to."""
