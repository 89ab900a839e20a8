"""How often Python looks for garbage."""

import gc


def collect_rarely() -> None:
    """Look for garbage less often: imports make many objects, all of which stay. Looking takes some of their time.

    Often enough to free the images that errors hold in circles of references.
    """
    gc.set_threshold(50_000, 20, 20)
