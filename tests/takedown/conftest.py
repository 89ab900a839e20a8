"""The lakes and the Hub of the release tests."""

from tests.release.conftest import hub

__all__ = ["hub"]
