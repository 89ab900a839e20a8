"""Settings: one frozen model, filled from defaults, profile, environment and command line."""

from kale_tasks.config.load import Loaded, load
from kale_tasks.config.model import Settings

__all__ = ["Loaded", "Settings", "load"]
