"""What a person sees before he agrees to a release: what it changes for its readers, its figures, its card."""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.compute as pc
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kale_tasks.lake.tables import Lake
from kale_tasks.release.built import Built
from kale_tasks.release.card import pages
from kale_tasks.release.diff import diff
from kale_tasks.release.stats import FACTS, TEXTS, Counts, add, mean_words
from kale_tasks.release.targets.base import README, Current
from kale_tasks.settings.model import Settings

_TEMPLATES = Path(__file__).parent / "templates"


def review(lake: Lake, settings: Settings, built: Built, current: Current) -> str:
    """A built release beside the one that readers have now, as Markdown."""
    environment = Environment(loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined, trim_blocks=True)
    card = pages(built, settings.publish, current.readme)[README].decode()
    return environment.get_template("review.md.j2").render(
        diff=diff(lake, built, current),
        figures=list(_compared(_stats(lake, current.version), built.stats)),
        card=card.split("---\n", 2)[2].strip(),
    )


def _stats(lake: Lake, version: str | None) -> Counts:
    """The counts of an earlier release; empty when the lake knows it no more."""
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
        yield f"words in {name}, on average", mean_words(counts, name)
    for name in FACTS:
        yield f"{name} in 100 captions", 100 * counts.get("facts", {}).get(name, 0) / max(1, captions)
    for name, number in counts.get("flags", {}).items():
        yield f"{name} (flag) in 100 captions", 100 * number / max(1, captions)
