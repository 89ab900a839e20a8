"""The few ways in which KALE fails, each with the exit code that tells a scheduler what to do next."""

from datetime import datetime
from typing import ClassVar


class KaleError(Exception):
    """A failure that a person can act on: one line that says what is wrong and what to do."""

    exit_code: ClassVar[int] = 1


class BadConfig(KaleError):
    """The settings, the arguments or the credentials are wrong; trying again cannot help."""

    exit_code = 2


class BadData(KaleError):
    """The data breaks a rule that must hold; trying again cannot help."""

    exit_code = 3


class Blocked(BadData):
    """A run failed its checks: its key keeps the rows it had until a person decides."""

    def __init__(self, message: str, fingerprint: str) -> None:
        super().__init__(message)
        self.fingerprint = fingerprint


class Transient(KaleError):
    """Something outside failed in a way that heals: try again later."""

    exit_code = 4


class Conflict(KaleError):
    """Another run changed what this one built on: plan again from the lake as it is now."""

    exit_code = 5


class Paused(KaleError):
    """Nothing failed: the work goes on where it stopped, at a time or as soon as a person allows it."""

    exit_code = 6

    def __init__(self, message: str, resumes_at: datetime | None = None) -> None:
        super().__init__(message)
        self.resumes_at = resumes_at
