"""How often Python looks for garbage."""

import gc


def collect_rarely() -> None:
    """Look for garbage less often: imports make many objects, all of which stay. Looking takes a tenth of the time."""
    gc.set_threshold(100_000, 50, 50)
