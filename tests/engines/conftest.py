"""The lakes and models of the captioning tests."""

from tests.captions.conftest import models, opened

__all__ = ["models", "opened"]
