"""Turns reports into pages: templates with everything escaped, one file each, nothing fetched from anywhere."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kale_tasks.quality import charts
from kale_tasks.quality.verdict import Outcome

_NONE = "\N{EN DASH}"


def render(template: str, **what: Any) -> str:
    """A whole page."""
    return _environment().get_template(template).render(**what)


@cache
def _environment() -> Environment:
    folder = FileSystemLoader(Path(__file__).with_name("templates"))
    made = Environment(loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.globals |= {"bars": charts.bars, "histogram": charts.histogram, "line": charts.line}
    made.filters |= {"number": number, "share": share, "duration": duration, "words": name_in_words, "seen": seen}
    return made


def number(value: float | None) -> str:
    """1234567 as 1,234,567; 0.12345 as 0.123."""
    if value is None:
        return _NONE
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"


def share(value: float | None) -> str:
    """0.1234 as 12.3 %."""
    return _NONE if value is None else f"{100 * value:.1f} %"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def name_in_words(name: str) -> str:
    """rows_mean as rows mean."""
    return name.replace("_", " ")


def seen(check: Outcome, part: str = "seen") -> str:
    """A figure of a check: what was seen or a bound, shares in percent."""
    value: float | None = getattr(check, part)
    return share(value) if check.name.endswith(("_share", "_gap", "_shift")) else number(value)
