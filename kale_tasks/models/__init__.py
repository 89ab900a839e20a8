"""Model files: finding models by name, and the registry of trained students."""
