"""Decisions from estimates: Holm over several comparisons, non-inferiority, equivalence."""

from collections.abc import Mapping

from kale_tasks.evaluate.intervals import Estimate


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjust the p-values of several comparisons: at most `alpha` errors in all if each is held against `alpha`."""
    adjusted, largest = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}


def not_inferior(difference: Estimate, margin: float) -> float:
    """Return the p-value of a difference being above minus the margin: small if nothing that matters is lost."""
    return difference.p_above(-margin)


def equivalent(difference: Estimate, margin: float) -> float:
    """Return the p-value of a difference being within the margin on both sides (two one-sided tests)."""
    below = Estimate(-difference.value, difference.error, difference.freedom)
    return max(difference.p_above(-margin), below.p_above(-margin))
