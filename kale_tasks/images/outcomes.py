"""Accounts of how the rows of a run ended."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from kale_tasks.errors import BadData, Transient
from kale_tasks.images.reasons import Reason
from kale_tasks.runner.receipts import Receipt

_STORED, _FAILED = "stored", "failed_"


def outcome_counts(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Count the rows of `images` that have an image, as `stored`, and the others by reason, as `failed_<reason>`."""
    counts = Counter(_STORED if row["status"] == "ok" else f"{_FAILED}{row['reason']}" for row in rows)
    return {name: float(counts[name]) for name in sorted(counts)}


def summary(counts: Mapping[str, float]) -> str:
    """Say how many images of a run are stored, and why the others are not."""
    stored, failed = _totals([counts])
    reasons = ", ".join(f"{reason} {count}" for reason, count in failed.most_common())
    return f"{stored} of {stored + failed.total()} images stored" + (f", failed: {reasons}" if reasons else "")


def require_images(receipts: Iterable[Receipt]) -> None:
    """Raise Transient or BadData if a run has rows but no server gave an image, so that it is no success.

    Images that their owners do not permit, or whose URL is refused, count as a result.
    """
    stored, failed = _totals(receipt.meta.metrics for receipt in receipts)
    reasons = [Reason(name) for name in failed]
    if stored or not failed or not all(reason.unavailable for reason in reasons):
        return
    most_common = ", ".join(f"{reason} {count}" for reason, count in failed.most_common(3))
    text = f"None of {failed.total()} images could be fetched ({most_common})."
    if any(reason.transient for reason in reasons):
        raise Transient(f"{text} Check the network and the URLs, then run again.")
    raise BadData(f"{text} Check the URLs of the pairs: every server says that its image is not there.")


def _totals(counted: Iterable[Mapping[str, float]]) -> tuple[int, Counter[str]]:
    totals = Counter[str]()
    for counts in counted:
        totals.update({name: int(count) for name, count in counts.items()})
    failed = {n.removeprefix(_FAILED): count for n, count in totals.items() if n.startswith(_FAILED) and count}
    return totals[_STORED], Counter(failed)
