"""How often the garbage collector runs."""

import gc


def collect_rarely() -> None:
    """Run the garbage collector less often, as imports make many objects that all stay.

    It still runs often enough to free the images that tracebacks hold in reference cycles.
    """
    gc.set_threshold(50_000, 20, 20)
