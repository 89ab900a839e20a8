"""Summary shown to the approver of a release: what it changes for readers, its figures, its card."""

import json
from collections.abc import Iterator

import pyarrow.compute as pc

from kale_tasks.lake.tables import Lake
from kale_tasks.release.built import Built
from kale_tasks.release.card import pages, render
from kale_tasks.release.diff import diff
from kale_tasks.release.stats import FACTS, TEXTS, Counts, add, mean_words
from kale_tasks.release.targets.base import README, Current
from kale_tasks.settings.model import Settings


def review(lake: Lake, settings: Settings, built: Built, current: Current) -> str:
    """Compare a built release with the published one, as Markdown."""
    card = pages(built, settings.publish, current.readme)[README].decode()
    return render(
        "review.md.j2",
        diff=diff(lake, built, current),
        figures=list(_compared(_stats(lake, current.version), built.stats)),
        card=card.split("---\n", 2)[2].strip(),
    )


def _stats(lake: Lake, version: str | None) -> Counts:
    """Return the counts of an earlier release; empty if it is no longer in the lake."""
    rows = lake.arrow("releases", columns=["version", "name", "stats"])
    files = rows.filter(pc.equal(rows["version"], version or "")).to_pylist()
    return add({row["name"]: json.loads(row["stats"]) for row in files}.values())


def _compared(old: Counts, new: Counts) -> Iterator[tuple[str, str, str]]:
    before, now = (dict(_figures(counts)) for counts in (old, new))
    for name in now:
        yield name, f"{before[name]:,.1f}" if before.get(name) else "", f"{now[name]:,.1f}"


def _figures(counts: Counts) -> Iterator[tuple[str, float]]:
    captions = sum(counts.get("stages", {}).values())
    for name in TEXTS:
        yield f"mean words in {name}", mean_words(counts, name)
    for name in FACTS:
        yield f"{name} in 100 captions", 100 * counts.get("facts", {}).get(name, 0) / max(1, captions)
    for name, number in counts.get("flags", {}).items():
        yield f"{name} (flag) in 100 captions", 100 * number / max(1, captions)
