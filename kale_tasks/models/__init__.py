"""Model files: located by name, and the registry of trained students."""
