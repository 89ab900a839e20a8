"""The lakes and models of the captioning tests, and vLLM by a script."""

from pathlib import Path

import pytest

from tests.captions.conftest import models, opened
from tests.engines.scripts import Opener, opener

__all__ = ["models", "opened", "scripted"]


@pytest.fixture
def scripted(tmp_path: Path) -> Opener:
    """Opens an engine whose processes follow a script."""
    return opener(tmp_path)
