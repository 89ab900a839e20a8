"""Settings: one frozen model, filled from defaults, profile, environment and command line."""

from kale_tasks.settings.load import Loaded, load
from kale_tasks.settings.model import Settings

__all__ = ["Loaded", "Settings", "load"]
