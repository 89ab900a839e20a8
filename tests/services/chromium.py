"""A real browser."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

FLAGS = ["--no-sandbox", "--disable-quic", "--disable-background-networking"]


@pytest.fixture(scope="module")  # no longer: while playwright runs, no other test of this thread can use asyncio
def chromium() -> Iterator[Browser]:
    """A browser for the tests of a module."""
    with open_chromium() as browser:
        yield browser


@contextmanager
def open_chromium() -> Iterator[Browser]:
    """Debian's Chromium without a screen, driven by playwright."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()
