"""The suites by step; a new table is one file here and one line below."""

from kale_tasks.errors import BadConfig
from kale_tasks.quality.suite import Suite
from kale_tasks.quality.suites.captions import DENSE, FUSE, STUDENT
from kale_tasks.quality.suites.images import IMAGES
from kale_tasks.quality.suites.pairs import PAIRS

SUITES = {suite.step: suite for suite in (PAIRS, IMAGES, DENSE, FUSE, STUDENT)}


def find_suite(step: str) -> Suite:
    """The suite of a step."""
    if step not in SUITES:
        raise BadConfig(f"There are no checks for '{step}'. Steps with checks: {', '.join(SUITES)}.")
    return SUITES[step]
