"""The sample web with all its faults, in a separate process, and how each URL must end."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kale_tasks.world.faults import FAULTS

HOSTS = 8
# By fault: how a URL ends with a single attempt, and after a redrive.
ENDS = {
    "ok": "ok", "hops": "ok", "changed": "ok", "busy": ("busy", "ok"), "flaky": ("server_error", "ok"),
    "missing": "not_found", "gone": "not_found", "forbidden": "forbidden", "broken": "server_error",
    "slow": "timed_out", "cut": "cut_short", "pdf": "not_an_image", "html": "not_an_image",
    "maze": "too_many_redirects", "loop": "too_many_redirects", "private": "private_address", "huge": "too_large",
    "bomb": "too_many_pixels", "robots": "robots_disallowed", "noai": "noai", "noimageai": "noai", "noml": "noai",
    "tdm": "tdm_reserved", "tdmrep": "tdm_reserved",
}  # fmt: skip
NEVER_ASKED = ("robots", "tdmrep")


@contextmanager
def faulty_web() -> Iterator[str]:
    """Run the web and yield its URL, in which `{host}` is a number from 1 to 8."""
    command = [sys.executable, "-m", "kale_tasks.cli.sample", "web", "--port", "0", "--hosts", str(HOSTS)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout
    try:
        base = process.stdout.readline().split()[-1]
        # Building its decompression bomb blocks the web for seconds: do it before the test.
        urllib.request.urlopen(address(base, "bomb", 0)).read()
        yield base
    finally:
        process.kill()
        process.wait()


def address(base: str, fault: str, index: int) -> str:
    """Return the URL of an image with a fault."""
    return f"{base.replace('{host}', str(index % HOSTS + 1))}/{fault}/0/2026-11-01/{index:08}.jpg"


def seen(base: str) -> list[dict[str, Any]]:
    """Return the requests that the web has received, in order."""
    with urllib.request.urlopen(f"{base.replace('{host}', '1')}/_seen") as answer:
        return list(json.load(answer))


def ends(fault: str, again: bool) -> str:
    """Return how a URL with this fault must end, at first or after a redrive."""
    end = ENDS[fault]
    return end if isinstance(end, str) else end[again]


assert ENDS.keys() == FAULTS.keys()
