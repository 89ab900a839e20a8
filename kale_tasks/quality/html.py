"""Renders the report pages. A page is one HTML file that loads nothing else; all values are escaped."""

from pathlib import Path
from typing import Any

from kale_tasks.charts import bars, histogram, sparkline
from kale_tasks.quality.verdict import Outcome
from kale_tasks.templates import open_templates

TEMPLATES = Path(__file__).with_name("templates")
_NONE = "\N{EN DASH}"


def render(template: str, **values: Any) -> str:
    """Render a page by the name of its template."""
    environment = open_templates(TEMPLATES)
    environment.globals |= {"bars": bars, "histogram": histogram, "sparkline": sparkline}
    environment.filters |= FILTERS
    return environment.get_template(template).render(**values)


def number(value: float | None) -> str:
    """Format a number: 1234567 as 1,234,567, 0.12345 as 0.123."""
    if value is None:
        return _NONE
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"


def share(value: float | None) -> str:
    """Format a share: 0.1234 as 12.3 %."""
    return _NONE if value is None else f"{100 * value:.1f} %"


def duration(seconds: float) -> str:
    """Format seconds: 7.2 s, 12 min or 2.5 h."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def spaced(name: str) -> str:
    """Format a name: words_mean as words mean."""
    return name.replace("_", " ")


def seen(check: Outcome, part: str = "seen") -> str:
    """Format the figure (`seen`) or a bound (`low`, `high`) of a check; shares in percent."""
    value: float | None = getattr(check, part)
    return share(value) if check.name.endswith(("_share", "_gap", "_shift")) else number(value)


FILTERS = {"number": number, "share": share, "duration": duration, "words": spaced, "seen": seen}
